-- name: insert_audit
with taken as (
    update audit_numbers set given = given + 1 returning given
)
insert into audit (number, account_id, at_ms, actor, act, object, details, correlation_id)
select given, :account_id, :at_ms, :actor, :act, :object, :details, :correlation_id from taken

-- name: audit_page
-- The newest first. `ending` is what an object must end in.
select number, account_id, at_ms, actor, act, object, details, correlation_id, hash
from audit
where account_id = :account_id
and number < :before
and (:act::text is null or act = :act)
and (:object::text is null or object = :object)
and (:ending::text is null or right(object, length(:ending)) = :ending)
order by number desc
limit :limit

-- name: audit_numbers_given
select given from audit_numbers

-- name: audit_prunable
-- The last flag says that the entry was pruned and put back before.
select number, hash, exists (select 1 from audit_pruned where audit_pruned.number = audit.number)
from audit
where number = any(:numbers)
and account_id = :account_id
and hash is not null
and act <> 'audit.pruned'
and number < (select number from audit_head)
order by number

-- name: delete_audit
delete from audit where number = any(:numbers)

-- name: audit_hashes
select number, hash from audit where number = any(:numbers)

-- name: audit_pruned_hashes
select number, hash from audit_pruned where number = any(:numbers)
