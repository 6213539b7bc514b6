-- name: reseal_outbound
-- After a change of a time in it, which its hash leaves out.
update outbound_messages
set body = :body, key_id = :key_id
where account_id = :account_id and id = :id

-- name: outbound_scheduled_page
-- Those that wait for a time their sender named, the first of them first, from a place in that order on.
select
    id, type, status, priority, body, key_id, body_hash, job_id, message_key, attempts, changes, due_at_ms, reason,
    provider, provider_id, owner, correlation_id, created_at_ms, updated_at_ms
from outbound_messages
where
    account_id = :account_id and status = 'queued' and attempts = 0 and due_at_ms > :now_ms and provider is null
    and (due_at_ms, id) > (:after_ms, :after_id)
order by due_at_ms, id
limit :limit
