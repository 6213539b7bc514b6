-- What a queue offers beyond the contract. Queues and messages that use none of it have the defaults.
create table schema_migrations (
    name text primary key,
    version integer not null
) strict, without rowid;

-- bits: 1 a message was sent with another priority than normal, 2 one with an ordering key
alter table lanes add column features integer not null default 0;

alter table messages add column priority integer not null default 1; -- 0 low, 1 normal, 2 high
alter table messages add column ordering_key text;
-- Of a message that waits behind another one of its ordering key: when it is due. It is parked: visible_at_ms is never.
alter table messages add column due_at_ms integer;
alter table messages add column redrives integer not null default 0;

-- serves: ready, ready_at_level, next_due
drop index messages_ready;
create index messages_ready on messages (lane, priority, visible_at_ms);

-- serves: is_ordered, free_next
create index messages_ordered on messages (lane, ordering_key, key) where ordering_key is not null;

-- serves: redriving_queues
create index queues_redriving on queues (id) where value ->> '$.settings.auto_redrive' is not null;

-- How much a consumer with a rate limit may take; a queue without a row may take all that its limit allows at once.
create table rate_buckets (
    queue_id text primary key,
    tokens real not null,
    at_ms integer not null
) strict, without rowid;
