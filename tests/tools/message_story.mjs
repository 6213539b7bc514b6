// Messages of one queue: pushed, peeked at, pulled, settled and purged. The queue's id is the argument.
import { account_id, newClient, show } from "./client.mjs";

const [id] = process.argv.slice(2);
const { queues } = newClient();
const { messages } = queues;

const pushed = await messages.push(id, { account_id, body: { greeting: "hé" }, content_type: "json" });
await messages.push(id, { account_id, body: "plain ☃", content_type: "text" });
const bulk = await messages.bulkPush(id, {
  account_id,
  delay_seconds: 600,
  messages: [
    { body: "third", content_type: "text", delay_seconds: 0 },
    { body: "delayed", content_type: "text" },
    { body: "purged", content_type: "text" },
  ],
});

const peeked = await messages.peek(id, { account_id, batch_size: 10 });
const refs = [{ ref: peeked.messages.find((message) => message.body === "purged").ref }, { ref: "nothing" }];
const discarded = await messages.purge(id, { account_id, refs });

const pulled = await messages.pull(id, { account_id, batch_size: 10, visibility_timeout_ms: 60000 });
const leases = pulled.messages.map(({ lease_id }) => ({ lease_id }));
const settled = await messages.ack(id, {
  account_id,
  acks: [leases[0]],
  retries: [leases[1], { ...leases[2], delay_seconds: 600 }],
});
const again = await messages.pull(id, { account_id });
const late = await messages.ack(id, { account_id, acks: [leases[0]] });

const backlog = await queues.getMetrics(id, { account_id });
const unpurged = await queues.purge.status(id, { account_id });
const purged = await queues.purge.start(id, { account_id, delete_messages_permanently: true });
const status = await queues.purge.status(id, { account_id });
const empty = await queues.getMetrics(id, { account_id });

show({ pushed, bulk, peeked, discarded, pulled, settled, again, late, leases, backlog, unpurged, purged, status, empty });
