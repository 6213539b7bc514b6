// A queue and its consumers, from creation to deletion.
import { account_id, all, newClient, show } from "./client.mjs";

const { queues } = newClient();
const names = async () => (await all(queues.list({ account_id }))).map((queue) => queue.queue_name);

const created = await queues.create({ account_id, queue_name: "npm-life", jurisdiction: "eu" });
const id = created.queue_id;
const listed = await names();
const edited = await queues.edit(id, { account_id, settings: { delivery_delay: 5, message_retention_period: 600 } });
const updated = await queues.update(id, { account_id, queue_name: "npm-renamed", settings: { delivery_delay: 9 } });
const read = await queues.get(id, { account_id });

const consumer = await queues.consumers.create(id, {
  account_id,
  type: "worker",
  script_name: "my-worker",
  dead_letter_queue: "npm-dlq",
  settings: { batch_size: 20, max_concurrency: 4 },
});
const which = { account_id, queue_id: id };
const consumers = await all(queues.consumers.list(id, { account_id }));
const replaced = await queues.consumers.update(consumer.consumer_id, { ...which, type: "worker", script_name: "other" });
const shown = await queues.consumers.get(consumer.consumer_id, which);
const detached = await queues.consumers.delete(consumer.consumer_id, which);

const metrics = await queues.getMetrics(id, { account_id });
const deleted = await queues.delete(id, { account_id });
const left = await names();

show({ created, listed, edited, updated, read, consumer, consumers, replaced, shown, detached, metrics, deleted, left });
