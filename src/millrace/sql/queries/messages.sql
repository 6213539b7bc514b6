-- name: insert_message
insert into messages (
    key, lane, visible_at_ms, kept_since_ms, sent_at_ms, id, content_type, source, headers, body
) values (
    :key, :lane, :visible_at_ms, :kept_since_ms, :sent_at_ms, :id, :content_type, :source, :headers, :body
)

-- name: ready
-- Ties go by key, which the index carries: the order of arrival.
select
    key, visible_at_ms, kept_since_ms, length(body), receipt, attempts, failures, sent_at_ms,
    id, content_type, source, headers, body
from messages
where lane = :lane and visible_at_ms <= :now_ms
order by visible_at_ms, key
limit :limit

-- name: next_due
select min(visible_at_ms) from messages where lane = :lane and visible_at_ms > :now_ms

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
    key = :new_key, lane = :lane, visible_at_ms = :now_ms, kept_since_ms = :now_ms, receipt = null,
    lease_ends_at_ms = null, is_last = 0,
    attempts = 0, failures = 0, origin_queue_id = :origin_queue_id, reason = :reason
where key = :key

-- name: oldest
select sent_at_ms from messages where key >= :first_key and key < :end_key order by key limit 1

-- name: peek
select
    key, visible_at_ms, kept_since_ms, attempts, failures, sent_at_ms,
    id, content_type, source, headers, origin_queue_id, reason, body
from messages
where key > :after_key and key < :end_key and kept_since_ms > :expired_before_ms
order by key
limit :limit

-- name: discard
delete from messages where key = :key and id = :id returning length(body)

-- name: lapsed_last
select key, lane, kept_since_ms, attempts, failures, length(body)
from messages
where is_last and visible_at_ms <= :now_ms
order by visible_at_ms
limit :limit

-- name: in_order
select key, sent_at_ms, kept_since_ms, length(body)
from messages
where key > :after_key and key < :end_key
order by key
limit :limit

-- name: buried
select key, origin_queue_id, length(body)
from messages
where
    key > :after_key and key < :end_key and origin_queue_id is not null
    and (receipt is null or visible_at_ms <= :now_ms)
order by key
limit :limit

-- name: sweep_lane
delete from messages
where key in (
    select key from messages where key >= :first_key and key < :end_key order by key limit :limit
)
returning key
