-- name: earlier_sends
-- The keys of a group come as one JSON array of pairs, queue and hash in hex.
select i.queue_id, i.key_hash, i.content_hash, i.message_id, i.created_at_ms, i.number
from
    json_each(:borne) as borne
    cross join idempotency i on i.queue_id = borne.value ->> 0 and i.key_hash = unhex(borne.value ->> 1)

-- name: note_send
-- Replacing a row that has run out moves it to the end, among those of its age.
insert or replace into idempotency (queue_id, key_hash, content_hash, message_id, created_at_ms)
values (:queue_id, :key_hash, :content_hash, :message_id, :created_at_ms)

-- name: expire_idempotency_keys
delete from idempotency
where number in (
    select number
    from (select number, created_at_ms from idempotency order by number limit :limit) oldest
    where created_at_ms <= :expired_before_ms
)
returning number
