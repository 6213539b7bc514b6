-- name: insert_audit
insert into audit (account_id, at_ms, actor, act, object, details, correlation_id)
values (:account_id, :at_ms, :actor, :act, :object, :details, :correlation_id)

-- name: audit_page
-- The newest first. `ending` is what an object must end in.
select number, account_id, at_ms, actor, act, object, details, correlation_id, hash
from audit
where account_id = :account_id
and number < :before
and (:act is null or act = :act)
and (:object is null or object = :object)
and (:ending is null or substr(object, -length(:ending)) = :ending)
order by number desc
limit :limit

-- name: audit_numbers_given
-- The database itself counts them, and keeps the count when rows go.
select coalesce(max(seq), 0) from sqlite_sequence where name = 'audit'

-- name: audit_prunable
-- The last flag says that the entry was pruned and put back before.
select number, hash, exists (select 1 from audit_pruned where audit_pruned.number = audit.number)
from audit
where number in (select value from json_each(:numbers))
and account_id = :account_id
and hash is not null
and act <> 'audit.pruned'
and number < (select number from audit_head)
order by number

-- name: delete_audit
delete from audit where number in (select value from json_each(:numbers))

-- name: audit_hashes
select number, hash from audit where number in (select value from json_each(:numbers))

-- name: audit_pruned_hashes
select number, hash from audit_pruned where number in (select value from json_each(:numbers))
