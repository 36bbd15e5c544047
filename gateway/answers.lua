-- Turns transcoded answers into the REST contract. Switched on for REST routes only.
-- It stands first in the filter chain, so it sees answers last.

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

function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get(":status")
  strip(headers)
  if status == "400" then
    -- INVALID_ARGUMENT and FAILED_PRECONDITION; malformed HTTP is refused before there is a route.
    headers:replace(":status", "422")
  elseif status == "401" then
    headers:replace("www-authenticate", 'Bearer realm="clarion"')
  elseif status == "200" and headers:get("x-trigger-id") then
    handle:body():setBytes("") -- waits for the whole answer: headers must be asked for again
    headers = handle:headers()
    headers:replace(":status", "204")
    headers:remove("content-type")
    headers:remove("content-length")
  end
  local trailers = handle:trailers()
  if trailers then
    strip(trailers)
  end
end
