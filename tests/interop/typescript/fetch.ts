// Calls with the types of openapi-typescript and its client openapi-fetch.
import createClient from "openapi-fetch";
import type { components, paths } from "./openapi.js";

declare const process: { env: Record<string, string | undefined> };

const client = createClient<paths>({
  baseUrl: process.env.CLARION_TARGET ?? "",
  headers: { authorization: `Bearer ${process.env.CLARION_API_KEY}` },
});
const path = { campaign_id: "44" };
const user: components["schemas"]["TriggerUser"] = {
  external_id: "u-1",
  email: "ada@example.com",
  data: { name: "Ada", tags: ["one", 2] },
};

const accepted = await client.POST("/api/client/campaigns/{campaign_id}/trigger", {
  params: { path },
  body: { user, event: { order: { id: 7 }, items: [null, true] } },
});
const trigger_id = accepted.response.headers.get("x-trigger-id") ?? "";

const read = await client.GET("/api/client/triggers/{trigger_id}", { params: { path: { trigger_id } } });
// Required members need no check for undefined.
const external_id: string = read.data?.delivery.external_id ?? "";

const rejected = await client.POST("/api/client/campaigns/{campaign_id}/trigger", {
  params: { path },
  body: { user: { external_id: "u-1" } },
});
const fields = (rejected.error?.details ?? []).flatMap((detail) =>
  detail["@type"] === "type.googleapis.com/google.rpc.BadRequest"
    ? detail.field_violations.map((violation) => violation.field)
    : [],
);

const batch = await client.POST("/api/client/triggers:batch", {
  body: { triggers: [{ campaign_id: 44, user, request_id: "order-1" }] },
});
const index: number | undefined = batch.data?.outcomes[0]?.index;

// @ts-expect-error: an address is text
const wrong: components["schemas"]["TriggerUser"] = { external_id: "u-1", email: 7 };
void wrong;

console.log(JSON.stringify({ trigger_id, external_id, fields, index }));
