-- The published views of the engine, for a copy of an account's rows: see millrace/sql/showing.py. Columns whose name ends
-- in `_at` are given as epoch milliseconds. The last column counts the bytes up to the end of the row; of the rows that end
-- beyond `most_bytes` the first one is given, too, as a sign that there are more.

-- name: view_queues
select
    q.id, q.name, q.created_at_ms, coalesce(q.value::json #>> '{settings,delivery_paused}', 'false')::boolean::int::bigint,
    l.backlog_count + c.count, l.backlog_bytes + c.bytes,
    q.value::json #>> '{consumer,type}', q.value::json #>> '{consumer,dead_letter_queue}', 0::bigint
from queues q
join lanes l on l.lane = q.lane
cross join lateral (
    select coalesce(sum(count), 0)::bigint as count, coalesce(sum(bytes), 0)::bigint as bytes
    from backlog_changes
    where lane = l.lane and written_by >= l.folded_below
) c
where q.account_id = :account_id and :now_ms::bigint > 0 and :most_bytes::bigint > 0
limit :limit

-- name: view_messages
-- Bodies are read of those rows only that are given.
select
    m.id, seen.queue,
    case
        when m.visible_at_ms <= :now_ms then 'ready'
        when m.receipt is not null and m.lease_ends_at_ms > :now_ms then 'leased'
        else 'scheduled'
    end,
    m.attempts, m.sent_at_ms, m.visible_at_ms, m.content_type,
    case when m.content_type in ('json', 'text') then m.body end, m.reason, seen.bytes
from (
    select key, queue, size, sum(size) over (order by key rows unbounded preceding)::bigint as bytes
    from (
        select m.key, q.name as queue, length(m.body) as size
        from queues q cross join lateral (select key, body from messages where lane = q.lane offset 0) m
        where q.account_id = :account_id
    ) sized
) seen
cross join lateral (select * from messages where key = seen.key limit 1) m
where seen.bytes - seen.size <= :most_bytes
order by seen.key
limit :limit
