-- name: is_ordered
select 1 from messages where lane = :lane and ordering_key = :ordering_key limit 1

-- name: order_of
select priority, ordering_key, due_at_ms from messages where key = :key

-- name: extend
update messages
set visible_at_ms = case when is_last then :until_ms else :delayed_ms end, lease_ends_at_ms = :until_ms
where key = :key and receipt = :receipt
returning key, receipt

-- name: release
update messages
set
    visible_at_ms = :visible_at_ms, attempts = :attempts, failures = :failures, receipt = null, lease_ends_at_ms = null,
    is_last = false
where key = :key

-- name: remove
delete from messages where key = :key

-- name: in_order
select key, sent_at_ms, kept_since_ms, ordering_key, due_at_ms
from messages
where key > :after_key and key < :end_key
order by key
limit :limit

-- name: expire
delete from messages
where key = :key and kept_since_ms <= :expired_before_ms
returning length(body), ordering_key, due_at_ms

-- name: move
-- The key carries the lane, so the row moves within the table; id, body and sent time stay.
update messages
set
    key = :new_key, lane = :lane, visible_at_ms = :visible_at_ms, due_at_ms = :due_at_ms,
    kept_since_ms = :kept_since_ms, receipt = null, lease_ends_at_ms = null, is_last = false,
    attempts = 0, failures = 0, redrives = redrives + :redrives, origin_queue_id = :origin_queue_id, reason = :reason
where key = :key

-- name: peek
select
    key, coalesce(due_at_ms, visible_at_ms), kept_since_ms, attempts, failures, sent_at_ms,
    id, content_type, source, headers, origin_queue_id, reason, body, priority, ordering_key
from messages
where key > :after_key and key < :end_key and kept_since_ms > :expired_before_ms
order by key
limit :limit

-- name: discard
delete from messages where key = :key and id = :id returning length(body), ordering_key, due_at_ms

-- name: cancel
delete from messages
where key = :key and id = :id and receipt is null and attempts = 0 and visible_at_ms > :now_ms
returning length(body), ordering_key, due_at_ms

-- name: reschedule
-- One that waits behind another of its ordering key stays there, and is due at the new time.
update messages
set
    visible_at_ms = case when due_at_ms is null then :at_ms else visible_at_ms end,
    due_at_ms = case when due_at_ms is null then null else :at_ms end,
    kept_since_ms = :at_ms
where key = :key and id = :id and receipt is null and attempts = 0 and visible_at_ms > :now_ms
returning key
