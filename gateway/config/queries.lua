-- Moves the query of a REST call to a header, in which the server decodes it (server/intake/rest_message.py).

local QUERY = "x-clarion-query"

local function encoded(character)
  return ("%%%02X"):format(character:byte())
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local path, query = headers:get(":path"):match("^([^?]*)%?(.*)$")
  if path then
    headers:replace(":path", path)
    headers:replace(QUERY, (query:gsub("[^!-~]", encoded))) -- gRPC accepts only ASCII in headers
  end
end
