-- Converts transcoded responses to the REST contract. Enabled on REST routes only. The filter is near the start of
-- the chain, so it sees responses after the transcoder.

-- The whole response to an accepted trigger. Its ID becomes a header, and so does the mark of a replay. Sending them
-- as initial metadata would cost the server another write for every call.
local ID = '{"trigger_id":"(' .. ("%x"):rep(8) .. "%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-" .. ("%x"):rep(12) .. ')"'
local TRIGGERS = "/api/client/triggers/"
local ACCEPTED, REPLAYED = "^" .. ID .. "}$", "^" .. ID .. ',"replayed":true}$'
local REFUSED = '"reason":"HTTP_REFUSED"' -- not in what a caller sent: there, quotes are escaped
local LENGTHS = { ["53"] = true, ["69"] = true }

-- Event streams must not be buffered here.
local EVENTS = "text/event-stream"

function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get(":status")
  if headers:get("content-type") == EVENTS then
    headers:replace("cache-control", "no-cache")
    headers:replace("x-accel-buffering", "no") -- also in proxies in front
    return
  end
  if status == "400" then
    -- INVALID_ARGUMENT and FAILED_PRECONDITION. Malformed HTTP stays 400; it has a route if only its body is malformed.
    local body = handle:body()
    if not (body and body:getBytes(0, body:length()):find(REFUSED, 1, true)) then
      handle:headers():replace(":status", "422")
    end
  elseif status == "401" then
    headers:replace("www-authenticate", 'Bearer realm="clarion"')
  elseif status == "200" and LENGTHS[headers:get("content-length")] then
    local body = handle:body() -- waits for the whole response, after which headers must be read again
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
end
