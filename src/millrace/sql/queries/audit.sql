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

-- name: audit_before
-- Of the next so many entries those that are old enough: what is too new is not read to its end to find none.
select number, account_id, at_ms, actor, act, object, details, correlation_id, hash
from (
    select number, account_id, at_ms, actor, act, object, details, correlation_id, hash
    from audit
    where account_id = :account_id
    and number > :after_number
    and number < (select number from audit_head)
    and act <> 'audit.pruned'
    order by number
    limit :limit
) as following
where at_ms < :at_ms
and hash is not null
order by number

-- name: audit_pruned_after
-- What no entry tells of was not pruned.
select number, hash
from audit_pruned
where number > :number
and (select act from audit where audit.number = audit_pruned.noted_in) = 'audit.pruned'
order by number
limit :limit

-- name: audit_pruned_in
select number, hash from audit_pruned where noted_in = :number order by number

-- name: note_pruned
insert into audit_pruned (number, hash, noted_in) values (:number, :hash, :noted_in)

-- name: restore_audit
insert into audit (number, account_id, at_ms, actor, act, object, details, correlation_id, hash)
values (:number, :account_id, :at_ms, :actor, :act, :object, :details, :correlation_id, :hash)
