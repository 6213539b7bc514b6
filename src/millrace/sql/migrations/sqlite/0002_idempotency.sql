-- What the idempotency keys of the last day stand for. A queue's rows outlive its purge and its end.
-- Rows are only ever added at the end: the table is in order of time, and expiry reads it from its beginning.
create table idempotency (
    number integer primary key,
    queue_id text not null,
    key_hash blob not null,     -- SHA-256 of the key
    content_hash blob not null, -- SHA-256 of what was sent
    message_id text not null,   -- the first that was stored
    created_at_ms integer not null
) strict;

-- serves: earlier_sends
create unique index idempotency_key on idempotency (queue_id, key_hash);
