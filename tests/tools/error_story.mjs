// What the SDK throws for our errors, and how often it asked.
// The ids of a queue without a consumer and of one with a pull consumer are the arguments.
import Cloudflare from "cloudflare";
import { account_id, asked, newClient, show } from "./client.mjs";

const [id, pullable] = process.argv.slice(2);
const { queues } = newClient();
const stranger = newClient({ apiToken: "wrong" }).queues;
const nowhere = "0".repeat(32);

async function thrownBy(call) {
  asked.length = 0;
  try {
    await call();
  } catch (error) {
    const kind = Object.keys(Cloudflare).find((name) => error.constructor === Cloudflare[name]);
    return { kind, status: error.status, code: error.errors[0].code, asked: asked.length };
  }
  return null;
}

const calls = {
  token: () => stranger.list({ account_id }),
  account: () => queues.get(id, { account_id: "other" }),
  queue: () => queues.get(nowhere, { account_id }),
  consumer: () => queues.consumers.get(nowhere, { account_id, queue_id: id }),
  name: () => queues.create({ account_id, queue_name: "Bad_Name" }),
  setting: () => queues.edit(id, { account_id, settings: { delivery_delay: 86401 } }),
  delay: () => queues.messages.push(id, { account_id, body: 1, delay_seconds: 86401 }),
  taken: () => queues.create({ account_id, queue_name: "npm-errors" }),
  second: () => queues.consumers.create(pullable, { account_id, type: "http_pull" }),
  large: () => queues.messages.push(id, { account_id, body: "x".repeat(128001), content_type: "text" }),
  many: () => queues.messages.bulkPush(id, { account_id, messages: Array(101).fill({ body: 1 }) }),
  pull: () => queues.messages.pull(id, { account_id }),
};

const thrown = {};
for (const [name, call] of Object.entries(calls)) thrown[name] = await thrownBy(call);
await queues.edit(pullable, { account_id, settings: { delivery_paused: true } });
thrown.paused = await thrownBy(() => queues.messages.pull(pullable, { account_id }));

show(thrown);
