-- Writes enum values and 64-bit integers of responses as the other interfaces do: `"state":"dead"` instead of
-- `"DELIVERY_STATE_DEAD"`, `"campaign_id":44` instead of `"44"`. The transcoder knows only the JSON of proto3.
-- The tables before this script come from words.py.

local WORD, INTEGER, LIST = '^"([%u_]+)"', '^"(%-?%d+)"', '^(%[[%d",-]+%])'

-- Replace the values of all members with a name. In JSON, a quote inside a text has a backslash, so a name with its
-- quotes and colon is always a member. Searching for it costs much less than a pattern for all names.
local function rewrite(text, name, pattern, replaced)
  local key, pieces, kept = '"' .. name .. '":', {}, 1
  local _, before = text:find(key, 1, true)
  while before do
    local _, last, value = text:find(pattern, before + 1)
    local new = last and replaced(value)
    if new then
      pieces[#pieces + 1] = text:sub(kept, before)
      pieces[#pieces + 1] = new
      kept = last + 1
    end
    _, before = text:find(key, before + 1, true)
  end
  return table.concat(pieces) .. text:sub(kept)
end

local function without_quotes(value)
  return (value:gsub('"', ""))
end

function envoy_on_response(handle)
  if handle:headers():get(":status") ~= "200" then
    return
  end
  local body = handle:body()
  if body then
    local text = body:getBytes(0, body:length())
    for name, words in pairs(WORDS) do
      text = rewrite(text, name, WORD, function(value)
        return words[value] and '"' .. words[value] .. '"'
      end)
    end
    for name in pairs(INTEGERS) do
      text = rewrite(text, name, INTEGER, without_quotes)
    end
    for name in pairs(INTEGER_LISTS) do
      text = rewrite(text, name, LIST, without_quotes)
    end
    body:setBytes(text)
  end
end
