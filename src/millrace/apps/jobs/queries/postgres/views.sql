-- name: view_jobs
-- The same conditions as in the statement job_counts.
select id, run_id, tenant_id, r2_key, status, attempts, error, created_at_ms, updated_at_ms, bytes
from (
    select
        j.id, j.run_id, j.tenant_id, j.r2_key,
        case
            when m.lease_ends_at_ms > :now_ms then 'leased'
            when m.is_last and m.visible_at_ms <= :now_ms then 'failed'
            when m.key is not null then 'pending'
            when j.outcome is not null then j.outcome
            when j.message_key >> 43 = (select lane from queues where account_id = :account_id and name = 'jobs')
            and not exists (
                select 1
                from messages b
                where b.key = (
                    (select lane from queues where account_id = :account_id and name = 'jobs-dlq') << 43
                    | (j.message_key & 8796093022207)
                ) and b.id = j.id
            ) then 'done'
            else 'failed'
        end as status,
        coalesce(m.attempts, j.attempts) as attempts, j.error, j.created_at_ms, j.updated_at_ms,
        sum(size.bytes) over (order by j.id rows unbounded preceding)::bigint as bytes, size.bytes as size
    from jobs_rows j
    cross join lateral (select octet_length(j.r2_key) + coalesce(octet_length(j.error), 0) as bytes) size
    left join messages m
        on m.key = j.message_key and m.id = j.id
        and m.lane + 0 = (select lane from queues where account_id = :account_id and name = 'jobs')
    where j.account_id = :account_id
) seen
where bytes - size <= :most_bytes
limit :limit
