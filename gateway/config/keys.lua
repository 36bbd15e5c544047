-- Finds a flood of unknown keys from one address, so that it reaches no server: the filter after this one delays and
-- rejects the calls that are marked here. The servers authenticate; here, only the keys that they have just accepted
-- are recognised, so that a good key is not affected by others.
-- Each worker thread of Envoy has its own tables.

local CERTIFICATE = "x-clarion-certificate" -- see server/domain/certificate.py
local MAX_IDENTITIES_BYTES = 2000 -- with the headers of a caller, below the servers' limit
local CALLER = "x-clarion-caller" -- see server/api/call.py
local FLOOD = "x-clarion-flood" -- see floods.py
local PENDING = "clarion.pending"
local MAX_ENTRIES = 10000
local KEEP_SECONDS = 60
local WATCHED_BYTES = 200 -- longer headers cannot be keys

local accepted, accepted_before, accepted_count, accepted_since = {}, {}, 0, 0
local failed, failed_count, failed_second = {}, 0, 0
local blocked, blocked_count = {}, 0
local pending_count, pending_until = 0, 0 -- calls whose keys were not recognised and that have no response yet

-- Whether a call is a trigger or a batch of them, over REST or gRPC. Servers log who makes other calls, and calls
-- with keys that they reject.
local function is_trigger(headers)
  local path = headers:get(":path")
  if path:find(".TriggerService/", 1, true) then
    return not path:find("/Cancel", 1, true)
  end
  return headers:get(":method") == "POST" and path:find("trigger") ~= nil
end

-- Add names of a certificate, unless one could be mistaken for several.
local function add_names(found, kind, names, bytes)
  for _, name in ipairs(names or {}) do
    local identity = kind .. name
    if not name:find("[^!-~]") and not name:find(",", 1, true) and bytes + #identity < MAX_IDENTITIES_BYTES then
      found[#found + 1], bytes = identity, bytes + #identity + 1
    end
  end
  return bytes
end

-- The identities of the caller's certificate, and its fingerprint. Envoy has checked who issued it; the connection may
-- be older than its end.
local function identities(handle)
  local tls = handle:streamInfo():downstreamSslConnection()
  if tls == nil or not tls:peerCertificatePresented() or tls:expirationPeerCertificate() < os.time() then
    return nil
  end
  local fingerprint = "sha256:" .. tls:sha256PeerCertificateDigest()
  local found = { fingerprint }
  local bytes = add_names(found, "uri:", tls:uriSanPeerCertificate(), #fingerprint)
  add_names(found, "dns:", tls:dnsSansPeerCertificate(), bytes)
  return table.concat(found, ","), fingerprint
end

local function without_port(address)
  return address:match("^%[(.*)%]") or address:match("^[^:]*")
end

-- An address without its port; the network of an IPv6 address that one site usually has.
local function network(address)
  local alone = without_port(address)
  return alone:match("^%x+:%x+:%x+:%x+:") or alone
end

local function remember(key)
  local now = os.time()
  if now - accepted_since >= KEEP_SECONDS or accepted_count >= MAX_ENTRIES then
    accepted, accepted_before, accepted_count, accepted_since = {}, accepted, 0, now
  end
  accepted[key], accepted_count = true, accepted_count + 1
end

local function failures(address)
  local now = os.time()
  if now ~= failed_second then
    failed, failed_count, failed_second = {}, 0, now
  end
  return failed[address] or 0
end

local function is_blocked(address)
  return os.time() < (blocked[address] or 0)
end

local function block(address)
  if blocked_count >= MAX_ENTRIES then
    blocked, blocked_count = {}, 0
  end
  blocked[address], blocked_count = os.time() + BLOCK_SECONDS, blocked_count + 1
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local key = headers:get("authorization")
  if key == nil and CERTIFICATES then
    local found
    found, key = identities(handle)
    if found then
      headers:add(CERTIFICATE, found)
    end
  end
  key = key or ""
  local recognised = accepted[key] or accepted_before[key]
  if recognised and not accepted[key] then
    remember(key)
  end
  if recognised and is_trigger(headers) then
    return
  end
  local info = handle:streamInfo()
  local caller = info:downstreamRemoteAddress()
  headers:add(CALLER, without_port(caller))
  if recognised then
    return
  end
  local address = network(caller)
  if is_blocked(address) then
    headers:add(FLOOD, "1")
    return
  end
  pending_count, pending_until = pending_count + 1, os.time() + LONGEST_SECONDS
  info:dynamicMetadata():set(PENDING, "address", address)
  if #key <= WATCHED_BYTES then
    info:dynamicMetadata():set(PENDING, "key", key)
  end
end

-- Return what was noted about a call whose key was not recognised. Usually no such call is in progress, and then this
-- costs nothing. A call that was broken off gets no response and stays counted until none can be in progress any more.
local function pending_of(handle)
  if pending_count == 0 then
    return nil
  end
  local pending = handle:streamInfo():dynamicMetadata():get(PENDING)
  if pending then
    pending_count = pending_count - 1
  elseif os.time() > pending_until then
    pending_count = 0
  end
  return pending
end

-- Whether a response rejects the key, and whether it is a success.
local function outcome(headers)
  if (headers:get("content-type") or ""):find("^application/grpc") then
    -- A refusal is an answer without a message, so that its status is in the headers.
    local status = headers:get("grpc-status")
    return status == "16", status == nil or status == "0"
  end
  local status = headers:get(":status")
  return status == "401", status:sub(1, 1) == "2"
end

local function count_failure(address)
  local count = failures(address) -- of this second, also if the second before had too many addresses
  if count == 0 and failed_count >= MAX_ENTRIES then
    return
  end
  failed_count = failed_count + (count == 0 and 1 or 0)
  failed[address] = count + 1
  if count + 1 == MAX_FAILED_KEYS then
    block(address)
  end
end

function envoy_on_response(handle)
  local pending = pending_of(handle)
  if not pending then
    return
  end
  local is_unauthenticated, is_success = outcome(handle:headers())
  if is_unauthenticated then
    count_failure(pending.address)
  elseif is_success and pending.key then
    remember(pending.key)
  end
end
