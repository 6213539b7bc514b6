-- name: insert_message
-- A column a parameter: a hundred rows are one statement and ten values.
insert into messages (
    key, lane, visible_at_ms, kept_since_ms, sent_at_ms, id, content_type, source, headers, body
)
select *
from unnest(
    :key::bigint[], :lane::bigint[], :visible_at_ms::bigint[], :kept_since_ms::bigint[], :sent_at_ms::bigint[],
    :id::text[], :content_type::text[], :source::text[], :headers::text[], :body::bytea[]
)

-- name: insert_featured_message
insert into messages (
    key, lane, visible_at_ms, kept_since_ms, sent_at_ms, id, content_type, source, headers, body,
    priority, ordering_key, due_at_ms
)
select *
from unnest(
    :key::bigint[], :lane::bigint[], :visible_at_ms::bigint[], :kept_since_ms::bigint[], :sent_at_ms::bigint[],
    :id::text[], :content_type::text[], :source::text[], :headers::text[], :body::bytea[],
    :priority::bigint[], :ordering_key::text[], :due_at_ms::bigint[]
)

-- name: ready
-- From `from_ms` on: before it lie entries of rows that were taken, which vacuum has not removed yet.
select
    key, visible_at_ms, kept_since_ms, length(body), receipt, attempts, failures, sent_at_ms,
    id, content_type, source, headers, body
from messages
where lane = :lane and priority = :priority and visible_at_ms <= :now_ms and visible_at_ms >= :from_ms
order by visible_at_ms, key
limit :limit
for update skip locked

-- name: ready_at_level
select
    key, visible_at_ms, kept_since_ms, length(body), receipt, attempts, failures, sent_at_ms,
    id, content_type, source, headers, body, priority, ordering_key
from messages
where lane = :lane and priority = :priority and visible_at_ms <= :now_ms and visible_at_ms >= :from_ms
order by visible_at_ms, key
limit :limit
for update skip locked

-- name: glance
select visible_at_ms, priority
from messages
where lane = :lane and priority = :priority and visible_at_ms <= :now_ms and visible_at_ms >= :from_ms
order by visible_at_ms, key
limit :limit

-- name: next_due
select visible_at_ms
from messages
where lane = :lane and priority = :priority and visible_at_ms > :now_ms
order by visible_at_ms, key
limit 1

-- name: lease
update messages
set
    visible_at_ms = :visible_at_ms, lease_ends_at_ms = :lease_ends_at_ms, receipt = :receipt, is_last = :is_last,
    attempts = attempts + 1
where key = any(:keys)

-- name: acknowledge
-- What another server has settled in the meantime is not returned.
delete from messages where key = any(:keys) and receipt = :receipt returning key, length(body), ordering_key

-- name: lock_rows
select from messages where key = any(:keys) order by key for update

-- name: delivery
-- Locked, so that a second settlement of the same delivery finds it gone.
select attempts, failures, lease_ends_at_ms, length(body)
from messages
where key = :key and receipt = :receipt
for update

-- name: free_next
-- Of those that wait, the one that came first, and that nobody removes at this moment: who did so is waited for.
update messages
set visible_at_ms = case when due_at_ms > :now_ms then due_at_ms else :now_ms end, due_at_ms = null
where
    key = (
        select key from messages where lane = :lane and ordering_key = :ordering_key order by key limit 1 for update
    )
    and due_at_ms is not null

-- name: oldest
select key, sent_at_ms from messages where key >= :first_key and key < :end_key order by key limit 1

-- name: oldest_each
select wanted.place, first.key, first.sent_at_ms
from unnest(:first_key::bigint[], :end_key::bigint[]) with ordinality as wanted (first_key, end_key, place)
cross join lateral (
    select key, sent_at_ms from messages
    where key >= wanted.first_key and key < wanted.end_key
    order by key
    limit 1
) first

-- name: lapsed_last
select key, lane, kept_since_ms, attempts, failures, length(body)
from messages
where is_last and visible_at_ms <= :now_ms
order by visible_at_ms
limit :limit
for update skip locked

-- name: lapsed_lanes
-- In the order of the names of the locks that are held for them.
select lane
from (select lane from messages where is_last and visible_at_ms <= :now_ms order by visible_at_ms limit :limit) lapsed
group by lane
order by lane::text collate "C"

-- name: buried
select key, origin_queue_id, length(body), id, sent_at_ms, kept_since_ms, redrives, reason, receipt, visible_at_ms
from messages
where key > :after_key and key < :end_key
order by key
limit :limit
for update skip locked

-- name: buried_one
select key, origin_queue_id, length(body), id, sent_at_ms, kept_since_ms, redrives, reason, receipt, visible_at_ms
from messages
where key = :key and id = :id
for update

-- name: sweep_lane
delete from messages
where key = any(array(select key from messages where key >= :first_key and key < :end_key order by key limit :limit))
returning key
