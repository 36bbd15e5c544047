// Calls Clarion from Node.js: triggers all three channels, then shows how refusals are read.
//
//   npm ci
//   CLARION_API_KEY="$(cat ../../../.clarion/demo-key)" node client.mjs [--until-limited]
//
// Prints one JSON line a call: {"case", "trigger_id"}, or {"case", "code", "message", "details", "retry_after"}.
// The contract is read from what `make proto` builds, not from .proto files: those import
// buf/validate/validate.proto, which this repository does not hold.

import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const target = process.env.CLARION_TARGET ?? "127.0.0.1:8080";
const key = process.env.CLARION_API_KEY ?? "";
const descriptors =
  process.env.CLARION_DESCRIPTORS ?? new URL("../../../protos/clarion/v1/clarion.binpb", import.meta.url);

// `json` unpacks each google.protobuf.Any whose type is known: no detail needs a decoder of its own.
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
const nobody = "00000000-0000-7000-8000-000000000000";

const CALLS = [
  // `event` and `user.data` are JSON as text, so that no number is rounded on its way.
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
  ["an unknown key", "TriggerEmail", { campaign_id: 44, user: mail }, { key: `sk_${nobody}` }],
  ["an unknown delivery", "GetDelivery", { trigger_id: nobody }, { service: "DeliveryService" }],
  ["a delivery id that is none", "GetDelivery", { trigger_id: "7" }, { service: "DeliveryService" }],
];

/** Calls a method; resolves to its reply, rejects with grpc-js's error. */
function call(method, request, { service = "TriggerService", key: secret = key } = {}) {
  const metadata = new grpc.Metadata();
  if (secret !== null) metadata.set("authorization", `Bearer ${secret}`);
  const deadline = new Date(Date.now() + 10_000);
  return new Promise((resolve, reject) => {
    services[service][method](request, metadata, { deadline }, (error, reply) =>
      error ? reject(error) : resolve(reply),
    );
  });
}

/** Reads the google.rpc.Status that travels beside an error, with its details unpacked. */
function refusal(error) {
  const [packed] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!packed) return { code: error.code, message: error.details, details: [] };
  const { code, message, details } = contract["google.rpc.Status"].deserialize(packed);
  const [retry_after] = error.metadata.get("retry-after");
  return { code, message, details: details.map(asObject), retry_after };
}

/** Makes an object of `metadata`: what is loaded from descriptors shows maps as lists of entries. */
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
    if (!error.metadata?.get("grpc-status-details-bin").length) throw error; // not a refusal: nobody answered
    print(name, refusal(error));
  }
}

/** Calls until the key's limit is reached, at most `most` times; shows that refusal. */
async function showLimit(most) {
  for (let made = 0; made < most; made += 1) {
    try {
      await call("GetDelivery", { trigger_id: nobody }, { service: "DeliveryService" });
    } catch (error) {
      if (error.code === grpc.status.RESOURCE_EXHAUSTED) return print("too many calls", refusal(error));
    }
  }
  throw new Error(`no limit within ${most} calls`);
}

for (const words of CALLS) await show(...words);
if (process.argv.includes("--until-limited")) await showLimit(500);
for (const service of Object.values(services)) service.close();
