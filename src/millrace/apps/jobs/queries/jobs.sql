-- PostgreSQL plans a statement once, perhaps while it takes the tables for empty. `lane + 0` and `account_id || ''` leave it
-- no index but that of the key.

-- name: run_tenant
select tenant_id from runs where account_id = :account_id and id = :id

-- name: insert_run
insert into runs (account_id, id, tenant_id, r2_key, job_id, created_at_ms)
values (:account_id, :id, :tenant_id, :r2_key, :job_id, :now_ms)

-- name: set_run_job
update runs
set job_id = :job_id, r2_key = :r2_key, stage = null
where account_id = :account_id and id = :id

-- name: insert_job
insert into jobs_rows (
    id, account_id, run_id, tenant_id, r2_key, message_key, key_hash, created_at_ms, updated_at_ms
)
values (
    :id, :account_id, :run_id, :tenant_id, :r2_key, :message_key, :key_hash, :now_ms, :now_ms
)

-- name: job_with_key
select id, run_id, tenant_id, r2_key from jobs_rows where account_id = :account_id and key_hash = :key_hash

-- name: status_of_missing
-- Of a job that had no message in the queue and no end of its own; it may have come back from the dead letters meanwhile.
-- 8796093022207 are the bits below the lane's.
select
    case
        when exists (
            select 1
            from messages m
            where
                m.key = j.message_key and m.id = j.id
                and m.lane + 0 = (select lane from queues where account_id = :account_id and name = 'jobs')
        ) then 'pending'
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
    end
from jobs_rows j
where j.account_id || '' = :account_id and j.id = :id

-- name: clear_stage
update runs set stage = null where account_id = :account_id and id = :id

-- name: set_run_result
update runs
set stage = coalesce(:stage, stage), text_bytes = coalesce(:text_bytes, text_bytes)
where account_id = :account_id and id = :id

-- name: save_run_result
-- What is null stays as it was; a new text takes the place of the old one, wherever that lies.
insert into run_results (account_id, run_id, text, text_key, result)
values (:account_id, :run_id, :text, :text_key, :result)
on conflict (account_id, run_id) do update
set
    text = case when coalesce(excluded.text, excluded.text_key) is null then run_results.text else excluded.text end,
    text_key = case
        when coalesce(excluded.text, excluded.text_key) is null then run_results.text_key else excluded.text_key
    end,
    result = coalesce(excluded.result, run_results.result)

-- name: run_result
select text, text_key, result from run_results where account_id = :account_id and run_id = :run_id

-- name: insert_upload
insert into uploads (run_id, account_id, r2_key, content_type, max_bytes, expires_at_ms, secret)
values (:run_id, :account_id, :r2_key, :content_type, :max_bytes, :expires_at_ms, :secret)

-- name: upload
select account_id, r2_key, content_type, max_bytes, expires_at_ms, secret
from uploads
where run_id = :run_id

-- name: upload_arrived
update uploads set size = :size, etag = :etag, uploaded_at_ms = :now_ms where run_id = :run_id

-- name: run_object_arrived
update runs set object_bytes = :size where account_id = :account_id and id = :id

-- name: job_counts
-- What has ended is counted in the index; the others are looked up by the key of their message.
select 'done', count(*)
from jobs_rows
where account_id = :account_id and outcome = 'done' and tenant_id >= :first_tenant and tenant_id <= :last_tenant
union all
select status, count(*)
from (
    select
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
        end as status
    from (
        select id, message_key, outcome
        from jobs_rows
        where
            account_id = :account_id and outcome is null
            and tenant_id >= :first_tenant and tenant_id <= :last_tenant
        union all
        select id, message_key, outcome
        from jobs_rows
        where
            account_id = :account_id and outcome = 'failed'
            and tenant_id >= :first_tenant and tenant_id <= :last_tenant
    ) j
    left join messages m
        on m.key = j.message_key and m.id = j.id
        and m.lane + 0 = (select lane from queues where account_id = :account_id and name = 'jobs')
) counted
group by status

-- name: missing_jobs
-- Jobs without an end whose message has left the queue.
select j.id
from jobs_rows j left join messages m
    on m.key = j.message_key and m.id = j.id
    and m.lane + 0 = (select lane from queues where account_id = :account_id and name = 'jobs')
where j.account_id = :account_id and j.outcome is null and m.key is null
limit :limit
