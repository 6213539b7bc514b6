-- name: take_lock
-- Gives a row when it was taken: free, ended, or held by the same owner.
insert into locks (account_id, key, lock_id, owner, token, ends_at_ms)
values (:account_id, :key, :lock_id, :owner, :token, :ends_at_ms)
on conflict (account_id, key) do update
set lock_id = excluded.lock_id, owner = excluded.owner, token = excluded.token, ends_at_ms = excluded.ends_at_ms
where locks.ends_at_ms <= :now_ms or locks.owner = excluded.owner
returning token

-- name: lock
select lock_id, owner, token, ends_at_ms
from locks
where account_id = :account_id and key = :key and ends_at_ms > :now_ms

-- name: extend_lock
update locks
set ends_at_ms = case when ends_at_ms > :until_ms then ends_at_ms else :until_ms end
where account_id = :account_id and key = :key and lock_id = :lock_id and ends_at_ms > :now_ms
returning owner, token, ends_at_ms

-- name: release_lock
delete from locks where account_id = :account_id and key = :key and lock_id = :lock_id returning token

-- name: claim
-- Gives a row when the holder has it now: free, ended, or its own already.
insert into claims (account_id, scope, key, holder, ends_at_ms)
values (:account_id, :scope, :key, :holder, :ends_at_ms)
on conflict (account_id, scope, key) do update
set holder = excluded.holder, ends_at_ms = excluded.ends_at_ms
where claims.ends_at_ms <= :now_ms or claims.holder = excluded.holder
returning 1

-- name: claimed
select holder, ends_at_ms
from claims
where account_id = :account_id and scope = :scope and key = :key and (ends_at_ms is null or ends_at_ms > :now_ms)

-- name: release_claim
delete from claims
where account_id = :account_id and scope = :scope and key = :key and holder = :holder
returning 1

-- name: latest_state
select version, at_ms, value
from states
where account_id = :account_id and kind = :kind and key = :key
order by version desc
limit 1

-- name: states_after
select version, at_ms, value
from states
where account_id = :account_id and kind = :kind and key = :key and version > :after_version
order by version
limit :limit

-- name: insert_state
insert into states (account_id, kind, key, version, at_ms, value)
values (:account_id, :kind, :key, :version, :at_ms, :value)

-- name: trim_state
delete from states
where account_id = :account_id and kind = :kind and key = :key and version <= :up_to_version

-- name: kv_value
select value, metadata
from kv
where
    account_id = :account_id and namespace = :namespace and key = :key
    and (expires_at_ms is null or expires_at_ms > :now_ms)

-- name: put_kv
insert into kv (account_id, namespace, key, value, metadata, expires_at_ms)
values (:account_id, :namespace, :key, :value, :metadata, :expires_at_ms)
on conflict (account_id, namespace, key) do update
set value = excluded.value, metadata = excluded.metadata, expires_at_ms = excluded.expires_at_ms

-- name: delete_kv
delete from kv where account_id = :account_id and namespace = :namespace and key = :key

-- name: kv_keys
select key, metadata, expires_at_ms
from kv
where
    account_id = :account_id and namespace = :namespace and key >= :first and key > :after and key < :end
    and (expires_at_ms is null or expires_at_ms > :now_ms)
order by key
limit :limit

-- name: caller_bucket
select tokens, at_ms from caller_buckets where account_id = :account_id and name = :name

-- name: put_caller_bucket
insert into caller_buckets (account_id, name, tokens, at_ms, full_at_ms)
values (:account_id, :name, :tokens, :at_ms, :full_at_ms)
on conflict (account_id, name) do update
set tokens = excluded.tokens, at_ms = excluded.at_ms, full_at_ms = excluded.full_at_ms

-- name: anything_ended
-- Each part looks at the first entry of its index.
select 1
where
    exists (select 1 from locks where ends_at_ms <= :now_ms)
    or exists (select 1 from claims where ends_at_ms <= :now_ms)
    or exists (select 1 from caller_buckets where full_at_ms <= :now_ms)
    or exists (select 1 from kv where expires_at_ms <= :now_ms)
    or exists (select 1 from states where value is null and at_ms <= :removed_before_ms)
