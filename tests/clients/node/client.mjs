// Calls Clarion from Node.js: triggers all three channels, then shows how to read errors.
//
//   npm ci
//   CLARION_API_KEY="$(cat ../../../.clarion/demo-key)" node client.mjs [--until-limited]
//
// Prints one JSON line per call: {"case", "trigger_id"}, or {"case", "code", "message", "details", "retry_after"}.
// Loads the contract from the descriptor set that `make proto` builds. The .proto files would also need
// buf/validate/validate.proto, which is not in this repository.

import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const target = process.env.CLARION_TARGET ?? "127.0.0.1:8080";
const key = process.env.CLARION_API_KEY ?? "";
const descriptors =
  process.env.CLARION_DESCRIPTORS ?? new URL("../../../protos/clarion/v1/clarion.binpb", import.meta.url);

// `json` unpacks every google.protobuf.Any of a known type, so error details need no further decoding.
const options = { keepCase: true, longs: String, enums: String, json: true };
const contract = loader.loadFileDescriptorSetFromBuffer(readFileSync(descriptors), options);
const { TriggerService, DeliveryService } = grpc.loadPackageDefinition(contract).clarion.v1;
const plaintext = grpc.credentials.createInsecure();
const services = {
  TriggerService: new TriggerService(target, plaintext),
  DeliveryService: new DeliveryService(target, plaintext),
};

const mail = { external_id: "EXTERNAL_ID", email: "test@test.com", timezone: "America/Chicago", locale: "en" };
const phone = { external_id: "EXTERNAL_ID", phone: "+12025550123" };
const device = { external_id: "EXTERNAL_ID", device_token: "DEVICE_TOKEN" };
const unknownId = "00000000-0000-7000-8000-000000000000";

const CALLS = [
  // `event` and `user.data` are JSON text, so that no number is rounded.
  ["email", "TriggerEmail", { campaign_id: 44, user: mail, event: '{"order_id": 9007199254740993123}' }],
  ["text", "TriggerText", { campaign_id: 45, user: phone, event: '{"code": 9007199254740993123}' }],
  ["push", "TriggerPush", { campaign_id: 46, user: device, event: '{"headline": "From Node"}' }],
  ["missing fields", "TriggerEmail", { campaign_id: 44, user: { timezone: "Mars/Base" } }],
  ["no user", "TriggerEmail", { campaign_id: 44 }],
  ["a wrong address", "TriggerEmail", { campaign_id: 44, user: { ...mail, email: "test@" } }],
  ["an unknown campaign", "TriggerEmail", { campaign_id: 999, user: mail }],
  ["a campaign of another channel", "TriggerEmail", { campaign_id: 45, user: mail }],
  ["no key", "TriggerEmail", { campaign_id: 44, user: mail }, { key: null }],
  ["a malformed key", "TriggerEmail", { campaign_id: 44, user: mail }, { key: "nonsense" }],
  ["an unknown key", "TriggerEmail", { campaign_id: 44, user: mail }, { key: `sk_${unknownId}` }],
  ["an unknown delivery", "GetDelivery", { trigger_id: unknownId }, { service: "DeliveryService" }],
  ["a malformed delivery id", "GetDelivery", { trigger_id: "7" }, { service: "DeliveryService" }],
];

/** Calls a method. Resolves to its response, or rejects with grpc-js's error. */
function call(method, request, { service = "TriggerService", key: secret = key } = {}) {
  const metadata = new grpc.Metadata();
  if (secret !== null) metadata.set("authorization", `Bearer ${secret}`);
  const deadline = new Date(Date.now() + 10_000);
  return new Promise((resolve, reject) => {
    services[service][method](request, metadata, { deadline }, (error, response) =>
      error ? reject(error) : resolve(response),
    );
  });
}

/** Returns the google.rpc.Status of an error, with its details unpacked. */
function statusOf(error) {
  const [packed] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!packed) return { code: error.code, message: error.details, details: [] };
  const { code, message, details } = contract["google.rpc.Status"].deserialize(packed);
  const [retry_after] = error.metadata.get("retry-after");
  return { code, message, details: details.map(asObject), retry_after };
}

/** Converts `metadata` to an object: with descriptors loaded at run time, maps are lists of entries. */
function asObject(detail) {
  if (!Array.isArray(detail.metadata)) return detail;
  return { ...detail, metadata: Object.fromEntries(detail.metadata.map(({ key, value }) => [key, value])) };
}

function print(name, outcome) {
  console.log(JSON.stringify({ case: name, ...outcome }));
}

async function show(name, method, request, how) {
  try {
    print(name, await call(method, request, how));
  } catch (error) {
    if (!error.metadata?.get("grpc-status-details-bin").length) throw error; // not an error of Clarion: there was no response
    print(name, statusOf(error));
  }
}

/** Calls up to `most` times until the key's rate limit is exceeded, and shows that error. */
async function showLimit(most) {
  for (let count = 0; count < most; count += 1) {
    try {
      await call("GetDelivery", { trigger_id: unknownId }, { service: "DeliveryService" });
    } catch (error) {
      if (error.code === grpc.status.RESOURCE_EXHAUSTED) return print("too many calls", statusOf(error));
    }
  }
  throw new Error(`no rate limit within ${most} calls`);
}

for (const words of CALLS) await show(...words);
if (process.argv.includes("--until-limited")) await showLimit(500);
for (const service of Object.values(services)) service.close();
