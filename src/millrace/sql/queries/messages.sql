-- name: insert_message
insert into messages (
    key, lane, visible_at_ms, kept_since_ms, sent_at_ms, id, content_type, source, headers, body
) values (
    :key, :lane, :visible_at_ms, :kept_since_ms, :sent_at_ms, :id, :content_type, :source, :headers, :body
)

-- name: insert_featured_message
insert into messages (
    key, lane, visible_at_ms, kept_since_ms, sent_at_ms, id, content_type, source, headers, body,
    priority, ordering_key, due_at_ms
) values (
    :key, :lane, :visible_at_ms, :kept_since_ms, :sent_at_ms, :id, :content_type, :source, :headers, :body,
    :priority, :ordering_key, :due_at_ms
)

-- name: ready
-- Ties go by key, which the index carries: the order of arrival.
select
    key, visible_at_ms, kept_since_ms, length(body), receipt, attempts, failures, sent_at_ms,
    id, content_type, source, headers, body
from messages
where lane = :lane and priority = 1 and visible_at_ms <= :now_ms
order by visible_at_ms, key
limit :limit

-- name: ready_at_level
select
    key, visible_at_ms, kept_since_ms, length(body), receipt, attempts, failures, sent_at_ms,
    id, content_type, source, headers, body, priority, ordering_key
from messages
where lane = :lane and priority = :priority and visible_at_ms <= :now_ms
order by visible_at_ms, key
limit :limit

-- name: next_due
select min(visible_at_ms) from messages where lane = :lane and priority = :priority and visible_at_ms > :now_ms

-- name: is_ordered
select 1 from messages where lane = :lane and ordering_key = :ordering_key limit 1

-- name: order_of
select priority, ordering_key, due_at_ms from messages where key = :key

-- name: free_next
-- Of those that wait, the one that came first.
update messages
set visible_at_ms = max(:now_ms, due_at_ms), due_at_ms = null
where
    key = (
        select key from messages where lane = :lane and ordering_key = :ordering_key order by key limit 1
    )
    and due_at_ms is not null

-- name: lease
-- The keys of a batch come as one JSON array: one call into the database instead of a hundred.
update messages
set
    visible_at_ms = :visible_at_ms, lease_ends_at_ms = :lease_ends_at_ms, receipt = :receipt, is_last = :is_last,
    attempts = attempts + 1
where key in (select value from json_each(:keys))

-- name: extend
update messages
set visible_at_ms = case when is_last then :until_ms else :delayed_ms end, lease_ends_at_ms = :until_ms
where key = :key and receipt = :receipt
returning key, receipt

-- name: current
select count(*), sum(length(body))
from messages
where key in (select value from json_each(:keys)) and receipt = :receipt

-- name: current_keys
select key from messages where key in (select value from json_each(:keys)) and receipt = :receipt

-- name: current_orders
select ordering_key
from messages
where key in (select value from json_each(:keys)) and receipt = :receipt and ordering_key is not null

-- name: acknowledge
delete from messages where key in (select value from json_each(:keys)) and receipt = :receipt

-- name: delivery
select attempts, failures, lease_ends_at_ms, length(body)
from messages
where key = :key and receipt = :receipt

-- name: release
update messages
set
    visible_at_ms = :visible_at_ms, attempts = :attempts, failures = :failures, receipt = null, lease_ends_at_ms = null,
    is_last = 0
where key = :key

-- name: remove
delete from messages where key = :key

-- name: move
-- The key carries the lane, so the row moves within the table; id, body and sent time stay.
update messages
set
    key = :new_key, lane = :lane, visible_at_ms = :visible_at_ms, due_at_ms = :due_at_ms,
    kept_since_ms = :kept_since_ms, receipt = null, lease_ends_at_ms = null, is_last = 0,
    attempts = 0, failures = 0, redrives = redrives + :redrives, origin_queue_id = :origin_queue_id, reason = :reason
where key = :key

-- name: oldest
select sent_at_ms from messages where key >= :first_key and key < :end_key order by key limit 1

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

-- name: lapsed_last
select key, lane, kept_since_ms, attempts, failures, length(body)
from messages
where is_last and visible_at_ms <= :now_ms
order by visible_at_ms
limit :limit

-- name: in_order
select key, sent_at_ms, kept_since_ms, length(body), ordering_key, due_at_ms
from messages
where key > :after_key and key < :end_key
order by key
limit :limit

-- name: buried
select key, origin_queue_id, length(body), id, sent_at_ms, kept_since_ms, redrives, reason, receipt, visible_at_ms
from messages
where key > :after_key and key < :end_key
order by key
limit :limit

-- name: sweep_lane
delete from messages
where key in (
    select key from messages where key >= :first_key and key < :end_key order by key limit :limit
)
returning key
