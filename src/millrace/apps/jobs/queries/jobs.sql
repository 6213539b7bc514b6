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

-- name: known_jobs
-- The ids of a batch come as one JSON array. The `+` keeps SQLite from reading all jobs of the account instead.
select id from jobs_rows
where id in (select value from json_each(:ids)) and +account_id = :account_id

-- name: jobs_with_messages
-- What lies in another lane was purged, though it may take a moment to go.
select
    j.id, j.run_id, j.tenant_id, j.r2_key, j.attempts, j.outcome, j.receipt, j.error, j.created_at_ms,
    j.message_key,
    m.key, m.receipt, m.lease_ends_at_ms, m.visible_at_ms, m.is_last, m.attempts
from jobs_rows j left join messages m
    on m.key = j.message_key and m.id = j.id
    and m.lane = (select lane from queues where account_id = :account_id and name = 'jobs')
where j.id in (select value from json_each(:ids)) and +j.account_id = :account_id

-- name: status_of_missing
-- Of a job that has no message in the queue and no end of its own.
select
    case
        when exists (
            select 1 from queues q where q.account_id = j.account_id and q.name = 'jobs' and q.lane = j.message_key >> 43
        ) and not exists (
            select 1
            from queues d join messages b on b.key = (d.lane << 43) | (j.message_key & ((1 << 43) - 1))
            where d.account_id = j.account_id and d.name = 'jobs-dlq' and b.id = j.id
        ) then 'done'
        else 'failed'
    end
from jobs_rows j
where j.account_id = :account_id and j.id = :id

-- name: jobs_of_tenant
-- In order of arrival. Other tenants' jobs are not read, however many there are.
select j.id, j.run_id, j.tenant_id, j.r2_key, m.attempts, m.key
from jobs_rows j cross join messages m on m.key = j.message_key and m.id = j.id
where
    j.account_id = :account_id and j.outcome is null and j.tenant_id = :tenant_id
    and m.lane = (select lane from queues where account_id = :account_id and name = 'jobs')
    and m.visible_at_ms <= :now_ms and not (m.is_last and m.receipt is not null)
order by j.message_key
limit :limit

-- name: failed_of_tenant
-- Those that may have come back from the dead-letter queue: the latest failures are looked at, not all of them.
select j.id, j.run_id, j.tenant_id, j.r2_key, m.attempts, m.key
from (
    select id, run_id, tenant_id, r2_key, message_key
    from jobs_rows
    where account_id = :account_id and outcome = 'failed' and tenant_id = :tenant_id
    order by message_key desc
    limit 1000
) j cross join messages m on m.key = j.message_key and m.id = j.id
where
    m.lane = (select lane from queues where account_id = :account_id and name = 'jobs')
    and m.visible_at_ms <= :now_ms and not (m.is_last and m.receipt is not null)
limit :limit

-- name: jobs_leased
-- Each as [id, message key, attempts]. A job that came back from the dead-letter queue has not ended after all.
update jobs_rows
set
    message_key = one.value ->> 1, attempts = one.value ->> 2, outcome = null, receipt = null,
    updated_at_ms = :now_ms
from json_each(:jobs) one
where jobs_rows.id = one.value ->> 0
returning id, attempts, error

-- name: jobs_settled
-- Each as [id, outcome or null, receipt, error or null].
update jobs_rows
set
    outcome = one.value ->> 1, receipt = one.value ->> 2, updated_at_ms = :now_ms,
    error = iif(one.value ->> 1 = 'done', null, coalesce(one.value ->> 3, error))
from json_each(:jobs) one
where jobs_rows.id = one.value ->> 0

-- name: runs_with_ids
select id, tenant_id, r2_key, job_id, stage, text_bytes, object_bytes, created_at_ms
from runs
where account_id = :account_id and id in (select value from json_each(:run_ids))

-- name: clear_stages
update runs
set stage = null
where account_id = :account_id and id in (select value from json_each(:run_ids))

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
    text = iif(coalesce(excluded.text, excluded.text_key) is null, text, excluded.text),
    text_key = iif(coalesce(excluded.text, excluded.text_key) is null, text_key, excluded.text_key),
    result = coalesce(excluded.result, result)

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
                from queues d join messages b on b.key = (d.lane << 43) | (j.message_key & ((1 << 43) - 1))
                where d.account_id = :account_id and d.name = 'jobs-dlq' and b.id = j.id
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
        and m.lane = (select lane from queues where account_id = :account_id and name = 'jobs')
)
group by status

-- name: missing_jobs
-- Jobs without an end whose message has left the queue.
select j.id
from jobs_rows j left join messages m
    on m.key = j.message_key and m.id = j.id
    and m.lane = (select lane from queues where account_id = :account_id and name = 'jobs')
where j.account_id = :account_id and j.outcome is null and m.key is null
limit :limit
