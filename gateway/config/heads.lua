-- Serves HEAD as GET, which the transcoder knows, and drops the body of the response (RFC 9110, 9.3.2).

function envoy_on_request(handle)
  handle:headers():replace(":method", "GET")
end

function envoy_on_response(handle)
  local body = handle:body() -- waits for the whole response, after which headers must be read again
  if body then
    local length = body:length()
    body:setBytes("")
    handle:headers():replace("content-length", tostring(length))
  end
end
