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
