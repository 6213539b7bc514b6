-- PostgreSQL plans a statement once, perhaps while it takes the tables for empty, and then would rather read them whole.
-- `lane + 0`, `account_id || ''`, a limit or a lock within a lateral query leave it no other way than the one meant.

-- name: known_jobs
-- The `|| ''` keeps the planner from reading all jobs of the account instead.
select id from jobs_rows where id = any(:ids::text[]) and account_id || '' = :account_id

-- name: jobs_with_messages
-- What lies in another lane was purged, though it may take a moment to go.
select
    j.id, j.run_id, j.tenant_id, j.r2_key, j.attempts, j.outcome, j.receipt, j.error, j.created_at_ms,
    j.message_key,
    m.key, m.receipt, m.lease_ends_at_ms, m.visible_at_ms, m.is_last, m.attempts
from jobs_rows j left join messages m
    on m.key = j.message_key and m.id = j.id
    and m.lane + 0 = (select lane from queues where account_id = :account_id and name = 'jobs')
where j.id = any(:ids::text[]) and j.account_id || '' = :account_id

-- name: lock_messages_of_jobs
-- What another server does to them at this moment is over before they are looked at. Always in the same order.
select 1
from (
    select id, message_key from jobs_rows where id = any(:ids::text[]) and account_id || '' = :account_id order by message_key
) j
cross join lateral (select 1 from messages where key = j.message_key and id = j.id for update) m

-- name: jobs_of_tenant
-- In order of arrival. Other tenants' jobs are not read, however many there are. The outcome, null in all of them, stands
-- in the order so that the planner sees that the index has it.
select j.id, j.run_id, j.tenant_id, j.r2_key, m.attempts, m.key
from jobs_rows j cross join lateral (
    select key, attempts
    from messages
    where
        key = j.message_key and id = j.id
        and lane + 0 = (select lane from queues where account_id = :account_id and name = 'jobs')
        and visible_at_ms <= :now_ms and not (is_last and receipt is not null)
    for update skip locked
) m
where j.account_id = :account_id and j.outcome is null and j.tenant_id = :tenant_id
order by j.outcome, j.message_key
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
) j cross join lateral (
    select key, attempts
    from messages
    where
        key = j.message_key and id = j.id
        and lane + 0 = (select lane from queues where account_id = :account_id and name = 'jobs')
        and visible_at_ms <= :now_ms and not (is_last and receipt is not null)
    for update skip locked
) m
limit :limit

-- name: jobs_leased
-- Each as [id, message key, attempts]. A job that came back from the dead-letter queue has not ended after all.
update jobs_rows
set
    message_key = (one.value ->> 1)::bigint, attempts = (one.value ->> 2)::bigint, outcome = null, receipt = null,
    updated_at_ms = :now_ms
from json_array_elements(:jobs::json) one (value)
where
    jobs_rows.id = one.value ->> 0
    and jobs_rows.id = any(array(select value ->> 0 from json_array_elements(:jobs::json) each (value)))
returning id, attempts, error

-- name: jobs_settled
-- Each as [id, outcome or null, receipt, error or null].
update jobs_rows
set
    outcome = one.value ->> 1, receipt = (one.value ->> 2)::bigint, updated_at_ms = :now_ms,
    error = case when one.value ->> 1 = 'done' then null else coalesce(one.value ->> 3, error) end
from json_array_elements(:jobs::json) one (value)
where
    jobs_rows.id = one.value ->> 0
    and jobs_rows.id = any(array(select value ->> 0 from json_array_elements(:jobs::json) each (value)))

-- name: runs_with_ids
select run.*
from unnest(:run_ids::text[]) wanted (run_id)
cross join lateral (
    select id, tenant_id, r2_key, job_id, stage, text_bytes, object_bytes, created_at_ms
    from runs
    where account_id = :account_id and id = wanted.run_id
    limit 1
) run

-- name: lock_runs
-- Whoever tells of a run sees its latest job, and tells before the next one is noted. Always in the same order.
select 1
from (select run_id from unnest(:run_ids::text[]) one (run_id) order by run_id) wanted
cross join lateral (select 1 from runs where account_id = :account_id and id = wanted.run_id for update) run
