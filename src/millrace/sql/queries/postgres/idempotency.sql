-- name: earlier_sends
-- The keys of a group come as one JSON array of pairs, queue and hash in hex.
select i.queue_id, i.key_hash, i.content_hash, i.message_id, i.created_at_ms, i.number
from json_array_elements(:borne::text::json) as borne
join idempotency i on i.queue_id = borne ->> 0 and i.key_hash = decode(borne ->> 1, 'hex')

-- name: forget_sends
delete from idempotency where number = any(:numbers)

-- name: note_send
insert into idempotency (queue_id, key_hash, content_hash, message_id, created_at_ms)
select *
from unnest(
    :queue_id::text[], :key_hash::bytea[], :content_hash::bytea[], :message_id::text[], :created_at_ms::bigint[]
)
on conflict (queue_id, key_hash) do nothing
returning 1
