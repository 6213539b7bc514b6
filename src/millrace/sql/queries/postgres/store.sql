-- name: store
select id, now_ms from store

-- name: insert_store
insert into store (one, id, now_ms) values (1, :id, 0) on conflict (one) do nothing

-- name: set_now
update store set now_ms = greatest(now_ms, :now_ms)

-- name: take_numbers
select take_numbers(:count)

-- name: hold
select pg_advisory_xact_lock(hashtextextended(:name, 7811))

-- name: hold_if_free
select pg_try_advisory_xact_lock(hashtextextended(:name, 7811))

-- name: share
select pg_advisory_xact_lock_shared(hashtextextended(name, 7811)) from unnest(:names::text[]) name

-- name: notify
select pg_notify('millrace', :payload)

-- name: changes
select version from changes
