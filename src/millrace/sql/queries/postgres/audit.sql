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
