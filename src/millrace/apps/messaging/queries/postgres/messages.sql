-- A row at a time, by its key: for a list of values PostgreSQL may read all rows of the account, as it does while it takes
-- the table for empty. The limit keeps it from making one join of the two.

-- name: outbound_of_ids
select one.*
from unnest(:ids::text[]) wanted (id)
cross join lateral (
    select
        id, type, status, priority, body, key_id, body_hash, job_id, message_key, attempts, changes, due_at_ms, reason,
        provider, provider_id, owner, correlation_id, created_at_ms, updated_at_ms
    from outbound_messages
    where account_id = :account_id and id = wanted.id
    limit 1
) one

-- name: outbound_of_jobs
select one.*
from unnest(:job_ids::text[]) wanted (job_id)
cross join lateral (
    select
        id, type, status, priority, body, key_id, body_hash, job_id, message_key, attempts, changes, due_at_ms, reason,
        provider, provider_id, owner, correlation_id, created_at_ms, updated_at_ms
    from outbound_messages
    where account_id = :account_id and job_id = wanted.job_id
    limit 1
) one
