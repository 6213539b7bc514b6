-- name: sweep_locks
-- The time is asked for again where the row is deleted: another server may have taken the lock anew in between.
delete from locks
where
    (account_id, key) in (select account_id, key from locks where ends_at_ms <= :now_ms limit :limit)
    and ends_at_ms <= :now_ms
returning 1

-- name: sweep_claims
delete from claims
where
    (account_id, scope, key) in (
        select account_id, scope, key from claims where ends_at_ms <= :now_ms limit :limit
    )
    and ends_at_ms <= :now_ms
returning 1

-- name: sweep_states
delete from states
where
    number in (
        select s.number
        from states s
        where s.value is null and s.at_ms <= :removed_before_ms
        limit :limit
    )
    and value is null and at_ms <= :removed_before_ms
returning 1

-- name: sweep_kv
delete from kv
where number in (select number from kv where expires_at_ms <= :now_ms limit :limit) and expires_at_ms <= :now_ms
returning 1

-- name: sweep_caller_buckets
delete from caller_buckets
where
    (account_id, name) in (
        select account_id, name from caller_buckets where full_at_ms <= :now_ms limit :limit
    )
    and full_at_ms <= :now_ms
returning 1
