// Event subscriptions of one queue. The queue's id is the argument.
import { account_id, all, newClient, show } from "./client.mjs";

const [queue_id] = process.argv.slice(2);
const { subscriptions } = newClient().queues;
const destination = { type: "queues.queue", queue_id };
const create = (name, source) =>
  subscriptions.create({ account_id, name, enabled: true, source, destination, events: ["namespace.created"] });

const created = await create("b", { type: "workersAi.model", model_name: "m" });
await create("a", { type: "kv" });
const listed = await all(subscriptions.list({ account_id, per_page: 1, order: "name", direction: "asc" }));
const updated = await subscriptions.update(created.id, { account_id, enabled: false });
const read = await subscriptions.get(created.id, { account_id });
const deleted = await subscriptions.delete(created.id, { account_id });
const left = await all(subscriptions.list({ account_id }));

show({ created, listed, updated, read, deleted, left });
