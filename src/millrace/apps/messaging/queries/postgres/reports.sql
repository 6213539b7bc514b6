-- name: strays_of_ids
-- As `stray_page`, for these.
select
    o.id,
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
from unnest(:ids::text[]) wanted (id)
cross join lateral (
    select id, job_id, message_key from outbound_messages where account_id = :account_id and id = wanted.id limit 1
) o

-- name: reports_of
select reference, event, reason
from delivery_reports
where account_id = :account_id and reference = any(:references::text[])
order by at_ms
