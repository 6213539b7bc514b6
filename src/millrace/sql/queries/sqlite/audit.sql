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
