-- name: outbound_ended
-- Those of one status, the oldest change first, after a place in that order.
select
    id, type, status, priority, body, key_id, body_hash, job_id, message_key, attempts, changes, due_at_ms, reason,
    provider, provider_id, owner, correlation_id, created_at_ms, updated_at_ms
from outbound_messages
where
    account_id = :account_id and status = :status and updated_at_ms < :older_than_ms
    and (updated_at_ms, id) > (:after_ms, :after_id)
order by updated_at_ms, id
limit :limit

-- name: restore_outbound
insert into outbound_messages (
    account_id, id, type, status, priority, body, key_id, body_hash, job_id, message_key, attempts, changes, due_at_ms,
    reason, provider, provider_id, owner, correlation_id, created_at_ms, updated_at_ms
)
values (
    :account_id, :id, :type, :status, :priority, :body, :key_id, :body_hash, :job_id, :message_key, :attempts, :changes,
    :due_at_ms, :reason, :provider, :provider_id, :owner, :correlation_id, :created_at_ms, :updated_at_ms
)
on conflict do nothing
returning id

-- name: restore_history
insert into message_history (account_id, message_id, number, at_ms, status, attempt, reason, provider, actor)
values (:account_id, :message_id, :number, :at_ms, :status, :attempt, :reason, :provider, :actor)
on conflict do nothing

-- name: insert_archive
insert into archives (account_id, id, target, object_key, lines, bytes, sha256, older_than_ms, created_at_ms)
values (:account_id, :id, :target, :object_key, :lines, :bytes, :sha256, :older_than_ms, :now_ms)

-- name: archive
select id, target, object_key, lines, bytes, sha256, older_than_ms, created_at_ms, restored_at_ms
from archives
where account_id = :account_id and id = :id

-- name: archives
select id, target, object_key, lines, bytes, sha256, older_than_ms, created_at_ms, restored_at_ms
from archives
where account_id = :account_id
order by created_at_ms desc
limit :limit

-- name: archive_restored
update archives set restored_at_ms = :now_ms where account_id = :account_id and id = :id
