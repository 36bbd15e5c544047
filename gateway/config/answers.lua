-- Turns transcoded answers into the REST contract. Switched on for REST routes only.
-- It stands first in the filter chain, so it sees answers last.

-- The whole answer of an accepted trigger: the id moves into a header, and so does that it is an earlier one's.
-- Reading it here spares the server the extra write that initial metadata would cost on every call.
local ID = '{"trigger_id":"(' .. ("%x"):rep(8) .. "%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-" .. ("%x"):rep(12) .. ')"'
local TRIGGERS = "/api/client/triggers/"
local ACCEPTED, REPLAYED = "^" .. ID .. "}$", "^" .. ID .. ',"replayed":true}$'
local LENGTHS = { ["53"] = true, ["69"] = true }

local function strip(answer)
  local gone = {}
  for name in pairs(answer) do
    if name:find("^grpc%-") or name:find("^x%-envoy%-") then
      gone[#gone + 1] = name
    end
  end
  for _, name in ipairs(gone) do
    answer:remove(name)
  end
end

-- A stream of events must not wait here for its end.
local EVENTS = "text/event-stream"

function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get(":status")
  strip(headers)
  if headers:get("content-type") == EVENTS then
    headers:replace("cache-control", "no-cache")
    headers:replace("x-accel-buffering", "no") -- proxies in front, too
    return
  end
  if status == "400" then
    -- INVALID_ARGUMENT and FAILED_PRECONDITION; malformed HTTP is refused before there is a route.
    headers:replace(":status", "422")
  elseif status == "401" then
    headers:replace("www-authenticate", 'Bearer realm="clarion"')
  elseif status == "200" and LENGTHS[headers:get("content-length")] then
    local body = handle:body() -- waits for the whole answer: headers must be asked for again
    local said = body:getBytes(0, body:length())
    local replayed = said:match(REPLAYED)
    local id = replayed or said:match(ACCEPTED)
    if id then
      body:setBytes("")
      headers = handle:headers()
      headers:replace(":status", "204")
      headers:replace("x-trigger-id", id)
      headers:replace("location", TRIGGERS .. id)
      if replayed then
        headers:replace("idempotency-replayed", "true")
      end
      headers:remove("content-type")
      headers:remove("content-length")
    end
  end
  local trailers = handle:trailers()
  if trailers then
    strip(trailers)
  end
end
