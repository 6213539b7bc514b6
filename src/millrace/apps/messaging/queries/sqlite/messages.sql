-- name: outbound_of_ids
select
    id, type, status, priority, body, key_id, body_hash, job_id, message_key, attempts, changes, due_at_ms, reason,
    provider, provider_id, owner, correlation_id, created_at_ms, updated_at_ms
from outbound_messages
where account_id = :account_id and id in (select value from json_each(:ids))

-- name: outbound_of_jobs
select
    id, type, status, priority, body, key_id, body_hash, job_id, message_key, attempts, changes, due_at_ms, reason,
    provider, provider_id, owner, correlation_id, created_at_ms, updated_at_ms
from outbound_messages
where account_id = :account_id and job_id in (select value from json_each(:job_ids))
