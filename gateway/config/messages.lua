-- Rejects native gRPC and gRPC-Web calls that do not have exactly one complete message. A server of grpcio's
-- asyncio API never answers such a call (docs/upstream/grpcio-calls-without-a-message.md).

local PREFIX = 5 -- a flag and four bytes with the message's length, https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md

function envoy_on_request(handle)
  local body = handle:body() -- the filter before has waited for all of it
  local length = body and body:length() or 0
  if length >= PREFIX then
    local a, b, c, d = body:getBytes(1, 4):byte(1, 4)
    if ((a * 256 + b) * 256 + c) * 256 + d + PREFIX == length then
      return
    end
  end
  handle:respond({ [":status"] = "400" }, "") -- see local_replies.py
end
