-- Writes enum values and 64-bit integers of responses as the other interfaces do: `"state":"dead"` instead of
-- `"DELIVERY_STATE_DEAD"`, `"campaign_id":44` instead of `"44"`. The transcoder knows only the JSON of proto3.
-- In queries, both forms are accepted. The tables before this script come from words.py.

local function with_name(state, name, value)
  local known = IN_QUERIES[name]
  return known and known[value] and state .. name .. "=" .. known[value]
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local path, query = headers:get(":path"):match("^([^?]*)(%?.*)$")
  if query then
    headers:replace(":path", path .. query:gsub("([?&])([%w_]+)=([%w_]+)", with_name))
  end
end

-- In JSON, a quote inside a text has a backslash, so these patterns match only whole members.
local function with_word(name, value)
  local word = WORDS[name] and WORDS[name][value]
  return word and '"' .. name .. '":"' .. word .. '"'
end

local function with_number(name, digits)
  return INTEGERS[name] and '"' .. name .. '":' .. digits
end

local function with_numbers(name, list)
  return INTEGERS[name] and '"' .. name .. '":[' .. list:gsub('"', "") .. "]"
end

function envoy_on_response(handle)
  if handle:headers():get(":status") ~= "200" then
    return
  end
  local body = handle:body()
  if body then
    local text = body:getBytes(0, body:length())
    text = text:gsub('"([%l_]+)":"([%u_]+)"', with_word)
    text = text:gsub('"([%l_]+)":"(%-?%d+)"', with_number)
    text = text:gsub('"([%l_]+)":%[([%d",-]+)%]', with_numbers)
    body:setBytes(text)
  end
end
