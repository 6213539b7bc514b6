-- name: sweep_locks
-- By their places in the table, found once: a join might be made the wrong way around, through all locks that are held.
-- The time is asked for again where the row is deleted: another server may have taken the lock anew in between.
delete from locks
where
    ctid = any(array(select ctid from locks where ends_at_ms <= :now_ms limit :limit))
    and ends_at_ms <= :now_ms
returning 1

-- name: sweep_claims
delete from claims
where
    ctid = any(array(select ctid from claims where ends_at_ms <= :now_ms limit :limit))
    and ends_at_ms <= :now_ms
returning 1

-- name: sweep_states
delete from states
where
    ctid = any(array(select ctid from states where value is null and at_ms <= :removed_before_ms limit :limit))
    and value is null and at_ms <= :removed_before_ms
returning 1

-- name: sweep_kv
delete from kv
where
    ctid = any(array(select ctid from kv where expires_at_ms <= :now_ms limit :limit))
    and expires_at_ms <= :now_ms
returning 1

-- name: sweep_caller_buckets
delete from caller_buckets
where
    ctid = any(array(select ctid from caller_buckets where full_at_ms <= :now_ms limit :limit))
    and full_at_ms <= :now_ms
returning 1
