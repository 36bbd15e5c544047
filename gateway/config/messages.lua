-- Rejects native gRPC and gRPC-Web calls that do not have exactly one complete message. A server of grpcio's
-- asyncio API never answers such a call (docs/upstream/grpcio-calls-without-a-message.md).

local PREFIX = 5 -- a flag and four bytes with the message's length (gRPC over HTTP/2, Length-Prefixed-Message)
local PLAIN, COMPRESSED = 0, 1

function envoy_on_request(handle)
  local body = handle:body() -- the filter before has waited for all of it
  local length = body and body:length() or 0
  if length >= PREFIX then
    local flag, a, b, c, d = body:getBytes(0, PREFIX):byte(1, PREFIX)
    local is_readable = flag == PLAIN or (flag == COMPRESSED and handle:headers():get("grpc-encoding"))
    if is_readable and ((a * 256 + b) * 256 + c) * 256 + d + PREFIX == length then
      return
    end
  end
  handle:respond({ [":status"] = "400" }, "") -- see local_replies.py
end
