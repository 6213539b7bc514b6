-- name: keep_report
insert into delivery_reports (account_id, reference, event, reason, at_ms)
values (:account_id, :reference, :event, :reason, :now_ms)
on conflict (account_id, reference, event) do nothing

-- name: reports_since
select reference, event, reason, at_ms
from delivery_reports
where account_id = :account_id and at_ms >= :since_ms and (at_ms, reference, event) > (:after_ms, :after_reference, :after_event)
order by at_ms, reference, event
limit :limit

-- name: delete_report
delete from delivery_reports
where account_id = :account_id and reference = :reference and event = :event
returning event

-- name: old_reports
select reference, event from delivery_reports where account_id = :account_id and at_ms < :before_ms limit :limit

-- name: stray_page
-- Where the messages of jobs lie, the oldest change first: `ready` or `leased` in the queue, and the reason among the dead letters.
-- 8796093022207 are the bits below the lane's: only the lane changes on the way into another queue.
select
    o.id, o.updated_at_ms,
    (
        select case when m.lease_ends_at_ms > :now_ms or m.is_last then 'leased' else 'ready' end
        from messages m
        where m.key = (cast(:first_key as bigint) | (o.message_key & 8796093022207)) and m.id = o.job_id
    ),
    (
        select coalesce(b.reason, '')
        from messages b
        where b.key = (cast(:dead_first_key as bigint) | (o.message_key & 8796093022207)) and b.id = o.job_id
    )
from outbound_messages o
where o.account_id = :account_id and o.status = :status and (o.updated_at_ms, o.id) > (:after_ms, :after_id)
order by o.updated_at_ms, o.id
limit :limit

-- name: stray_failures
-- The latest failures that are in the queue again; not all of them are looked at.
select id
from (
    select
        o.id,
        (
            select m.id
            from messages m
            where m.key = (cast(:first_key as bigint) | (o.message_key & 8796093022207)) and m.id = o.job_id
        ) as found
    from outbound_messages o
    where o.account_id = :account_id and o.status = 'failed'
    order by o.updated_at_ms desc, o.id desc
    limit :limit
) latest
where found is not null
