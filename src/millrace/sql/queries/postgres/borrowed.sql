-- name: exchange_settings
-- Gives what each setting was before. The search path comes first, so that the last row knows whether the tables are there.
select current_setting(name), set_config(name, value, true), to_regclass('store') is not null
from unnest(:names::text[], :values::text[]) as wanted (name, value)

-- name: borrowed_store
select id, current_setting('transaction_isolation'), (extract(epoch from clock_timestamp()) * 1000)::bigint from store

-- name: home
select id, (select string_agg(quote_ident(name), ', ') from unnest(current_schemas(false)) as name) from store

-- name: database_now
select (extract(epoch from clock_timestamp()) * 1000)::bigint

-- name: wake_watchers
-- Who is no server does not know what is watched, and asks in the same breath.
select pg_notify('millrace', :payload)
where exists (
    select
    from servers
    where watched && :names::text[] and seen_at_ms > (extract(epoch from clock_timestamp()) * 1000)::bigint - :gone_ms
)

-- name: begin_part
savepoint millrace_part

-- name: end_part
release savepoint millrace_part

-- name: undo_part
rollback to savepoint millrace_part

-- name: spoil
do $$ begin raise exception 'the send was cancelled, so its transaction cannot be committed'; end $$
