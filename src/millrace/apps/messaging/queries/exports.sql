-- name: insert_export
insert into exports (account_id, id, format, reach, owner, secret, asked_at_ms)
values (:account_id, :id, :format, :reach, :owner, :secret, :now_ms)
on conflict (account_id, id) do nothing

-- name: export
select
    id, format, reach, owner, secret, object_key, examined, total, written, bytes, asked_at_ms, begun_at_ms,
    finished_at_ms, expires_at_ms, removed_at_ms
from exports
where account_id = :account_id and id = :id

-- name: exports_of_owner
select
    id, format, reach, owner, secret, object_key, examined, total, written, bytes, asked_at_ms, begun_at_ms,
    finished_at_ms, expires_at_ms, removed_at_ms
from exports
where account_id = :account_id and owner = :owner
order by asked_at_ms desc
limit :limit

-- name: begin_export
update exports
set
    object_key = :object_key, begun_at_ms = :now_ms, removed_at_ms = null, examined = 0, written = 0, total = :total
where account_id = :account_id and id = :id and finished_at_ms is null

-- name: advance_export
-- An attempt whose place another one has taken changes nothing, as in the next.
update exports
set examined = :examined, written = :written
where account_id = :account_id and id = :id and object_key = :object_key and finished_at_ms is null

-- name: finish_export
update exports
set
    examined = :examined, written = :written, bytes = :bytes, finished_at_ms = :now_ms, expires_at_ms = :expires_at_ms
where account_id = :account_id and id = :id and object_key = :object_key and finished_at_ms is null
returning id

-- name: exports_with_files
select id, object_key
from exports
where account_id = :account_id and finished_at_ms < :before_ms and removed_at_ms is null
order by finished_at_ms, id
limit :limit

-- name: exports_cut_off
-- Those whose last attempt may have left a file behind.
select id, object_key
from exports
where
    account_id = :account_id and finished_at_ms is null and removed_at_ms is null and object_key is not null
    and begun_at_ms < :before_ms
    and (
        select status
        from outbound_messages
        where outbound_messages.account_id = :account_id and outbound_messages.id = exports.id
    ) in ('failed', 'cancelled')
limit :limit

-- name: remove_export
update exports set removed_at_ms = :now_ms where account_id = :account_id and id = :id and removed_at_ms is null
returning id

-- name: export_messages
-- The oldest first, from a place in that order on.
select
    id, type, status, priority, body, key_id, body_hash, job_id, message_key, attempts, changes, due_at_ms, reason,
    provider, provider_id, owner, correlation_id, created_at_ms, updated_at_ms,
    case
        when status = 'delivered' then (
            select min(at_ms)
            from message_history
            where account_id = :account_id and message_id = outbound_messages.id and message_history.status = 'delivered'
        )
    end as delivered_at_ms
from outbound_messages
where
    account_id = :account_id and (created_at_ms, id) > (:after_ms, :after_id) and created_at_ms < :end_ms
order by created_at_ms, id
limit :limit

-- name: count_export_messages
select count(*)
from (
    select 1
    from outbound_messages
    where account_id = :account_id and created_at_ms >= :start_ms and created_at_ms < :end_ms
    order by created_at_ms, id
    limit :limit
) as counted

-- name: export_entries
select number, at_ms, actor, act, object, details, correlation_id
from audit
where account_id = :account_id and number > :after
order by number
limit :limit

-- name: count_export_entries
select count(*) from (select 1 from audit where account_id = :account_id limit :limit) as counted
