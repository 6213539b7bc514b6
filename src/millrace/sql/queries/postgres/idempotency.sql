-- name: earlier_sends
-- The keys of a group come as one JSON array of pairs, queue and hash in hex. Each is looked up by itself: a join might be
-- made the wrong way around, through all keys of the day.
select i.queue_id, i.key_hash, i.content_hash, i.message_id, i.created_at_ms, i.number
from json_array_elements(:borne::text::json) as borne
cross join lateral (
    select * from idempotency where queue_id = borne ->> 0 and key_hash = decode(borne ->> 1, 'hex') limit 1
) i

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

-- name: expire_idempotency_keys
delete from idempotency
where
    number = any(array(
        select number
        from (select number, created_at_ms from idempotency order by number limit :limit) oldest
        where created_at_ms <= :expired_before_ms
    ))
returning number
