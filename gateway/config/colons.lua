-- Decodes the encoded colon of a path with a custom verb (`triggers%3Abatch`), which the transcoder does not know.

function envoy_on_request(handle)
  local headers = handle:headers()
  local path, query = headers:get(":path"):match("^([^?]*)(.*)$")
  headers:replace(":path", (path:gsub("%%3[aA]", ":")) .. query)
end
