-- name: audit_after
select number, account_id, at_ms, actor, act, object, details, correlation_id, hash
from audit
where number > :number
order by number
limit :limit

-- name: audit_unchained
-- An entry before the head that has lost its hash stays without: it was changed by hand, and verify tells.
select number, account_id, at_ms, actor, act, object, details, correlation_id, hash
from audit
where hash is null
and number > :number
order by number
limit :limit

-- name: audit_tail
select count(*), count(hash), max(number) from audit where number > :number

-- name: chain_audit
update audit set hash = :hash where number = :number

-- name: audit_head
select number, hash from audit_head

-- name: set_audit_head
update audit_head set number = :number, hash = :hash
