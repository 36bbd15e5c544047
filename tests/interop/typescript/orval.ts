// Calls with the client that orval generates.
import {
  deliveryServiceGetTrigger,
  triggerServiceBatchTriggerCampaigns,
  triggerServiceTriggerCampaign,
  type TriggerUser,
} from "./generated.js";

declare const process: { env: Record<string, string | undefined> };

const options = { headers: { authorization: `Bearer ${process.env.CLARION_API_KEY}` } };
const user: TriggerUser = { external_id: "u-1", email: "ada@example.com", data: { tags: ["one", 2] } };

const accepted = await triggerServiceTriggerCampaign("44", { user, event: { order: { id: 7 } } }, options);
const trigger_id = accepted.headers.get("x-trigger-id") ?? "";

const read = await deliveryServiceGetTrigger(trigger_id, options);
const external_id: string = read.status === 200 ? read.data.delivery.external_id : "";

const rejected = await triggerServiceTriggerCampaign("44", { user: { external_id: "u-1" } }, options);
const fields =
  rejected.status === 422
    ? rejected.data.details.flatMap((detail) =>
        "field_violations" in detail ? detail.field_violations.map((violation) => violation.field) : [],
      )
    : [];

const batch = await triggerServiceBatchTriggerCampaigns({ triggers: [{ campaign_id: 44, user }] }, options);
const index: number | undefined = batch.status === 200 ? batch.data.outcomes[0]?.index : undefined;

console.log(JSON.stringify({ trigger_id, external_id, fields, index }));
