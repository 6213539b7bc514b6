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

-- name: lease
-- The keys of a batch come as one JSON array: one call into the database instead of a hundred.
update messages
set
    visible_at_ms = :visible_at_ms, lease_ends_at_ms = :lease_ends_at_ms, receipt = :receipt, is_last = :is_last,
    attempts = attempts + 1
where key in (select value from json_each(:keys))

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

-- name: oldest
select sent_at_ms from messages where key >= :first_key and key < :end_key order by key limit 1

-- name: lapsed_last
select key, lane, kept_since_ms, attempts, failures, length(body)
from messages
where is_last and visible_at_ms <= :now_ms
order by visible_at_ms
limit :limit

-- name: buried
select key, origin_queue_id, length(body), id, sent_at_ms, kept_since_ms, redrives, reason, receipt, visible_at_ms
from messages
where key > :after_key and key < :end_key
order by key
limit :limit

-- name: buried_one
select key, origin_queue_id, length(body), id, sent_at_ms, kept_since_ms, redrives, reason, receipt, visible_at_ms
from messages
where key = :key and id = :id

-- name: sweep_lane
delete from messages
where key in (
    select key from messages where key >= :first_key and key < :end_key order by key limit :limit
)
returning key

-- name: glance
select visible_at_ms, priority
from messages
where lane = :lane and priority = :priority and visible_at_ms <= :now_ms
order by visible_at_ms, key
limit :limit

-- name: free_next
-- Of those that wait, the one that came first.
update messages
set visible_at_ms = case when due_at_ms > :now_ms then due_at_ms else :now_ms end, due_at_ms = null
where
    key = (
        select key from messages where lane = :lane and ordering_key = :ordering_key order by key limit 1
    )
    and due_at_ms is not null
