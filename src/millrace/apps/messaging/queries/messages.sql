-- name: insert_outbound
insert into outbound_messages (
    account_id, id, type, status, priority, body, key_id, body_hash, job_id, message_key, changes, due_at_ms, owner,
    correlation_id, created_at_ms, updated_at_ms
)
values (
    :account_id, :id, :type, :status, :priority, :body, :key_id, :body_hash, :job_id, :message_key, :changes, :due_at_ms, :owner,
    :correlation_id, :now_ms, :now_ms
)
on conflict (account_id, id) do nothing
returning id

-- name: outbound
select
    id, type, status, priority, body, key_id, body_hash, job_id, message_key, attempts, changes, due_at_ms, reason,
    provider, provider_id, owner, correlation_id, created_at_ms, updated_at_ms
from outbound_messages
where account_id = :account_id and id = :id

-- name: outbound_of_job
select id from outbound_messages where account_id = :account_id and job_id = :job_id

-- name: outbound_of_provider
select id
from outbound_messages
where account_id = :account_id and provider = :provider and provider_id = :provider_id

-- name: move_outbound
update outbound_messages
set
    status = :status, attempts = :attempts, changes = :changes, due_at_ms = :due_at_ms, reason = :reason,
    provider = coalesce(:provider, provider), provider_id = coalesce(:provider_id, provider_id), updated_at_ms = :now_ms
where account_id = :account_id and id = :id and changes = :changes - 1
returning id

-- name: queue_outbound
update outbound_messages
set job_id = :job_id, message_key = :message_key
where account_id = :account_id and id = :id

-- name: insert_history
insert into message_history (account_id, message_id, number, at_ms, status, attempt, reason, provider, actor)
values (:account_id, :message_id, :number, :now_ms, :status, :attempt, :reason, :provider, :actor)

-- name: history_after
select number, at_ms, status, attempt, reason, provider, actor
from message_history
where account_id = :account_id and message_id = :message_id and number > :after
order by number
limit :limit

-- name: outbound_page
-- The newest first, below a place in that order.
select
    id, type, status, priority, body, key_id, body_hash, job_id, message_key, attempts, changes, due_at_ms, reason,
    provider, provider_id, owner, correlation_id, created_at_ms, updated_at_ms
from outbound_messages
where account_id = :account_id and (created_at_ms, id) < (:before_ms, :before_id)
order by created_at_ms desc, id desc
limit :limit

-- name: outbound_of_status
-- Those of one status, the latest change first.
select
    id, type, status, priority, body, key_id, body_hash, job_id, message_key, attempts, changes, due_at_ms, reason,
    provider, provider_id, owner, correlation_id, created_at_ms, updated_at_ms
from outbound_messages
where account_id = :account_id and status = :status and (updated_at_ms, id) < (:before_ms, :before_id)
order by updated_at_ms desc, id desc
limit :limit

-- name: outbound_counts
-- Read from the index alone.
select status, count(*) from outbound_messages where account_id = :account_id group by status

-- name: outbound_scheduled
-- Those that wait for a time their sender named.
select count(*)
from outbound_messages
where account_id = :account_id and status = 'queued' and due_at_ms > :now_ms and attempts = 0 and provider is null

-- name: outbound_removals
-- Those among them that no sender named: exports have their files removed.
select count(*)
from outbound_messages
where account_id = :account_id and status = 'queued' and due_at_ms > :now_ms and attempts = 0 and owner = 'export'

-- name: outbound_ended_since
select status, count(*)
from outbound_messages
where
    account_id = :account_id and status in ('sent', 'stored', 'delivered', 'done', 'failed', 'undelivered')
    and updated_at_ms >= :since_ms
group by status

-- name: outbound_failures
select type, status, reason, updated_at_ms
from outbound_messages
where account_id = :account_id and status in ('failed', 'undelivered') and updated_at_ms >= :since_ms
order by updated_at_ms desc
limit :limit
