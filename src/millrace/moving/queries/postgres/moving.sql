-- name: has_table
select 1 where to_regclass(:name::text) is not null

-- name: create_moving
create table moving (
    name text collate "C" primary key,
    row_count bigint not null,
    position bytea not null,
    finished_at_ms bigint
)

-- name: store_numbers
select id, (select last_value + is_called::int from numbers), now_ms from store

-- name: move_store
update store set id = :id, now_ms = :now_ms

-- name: set_numbers
select setval('numbers', :next_number, false)

-- name: set_audit_given
update audit_numbers set given = :given

-- name: columns_of
select a.attname::text, format_type(a.atttypid, a.atttypmod), a.attidentity <> ''
from pg_attribute a
where a.attrelid = to_regclass(:name::text) and a.attnum > 0 and not a.attisdropped
order by a.attnum

-- name: key_of
-- The primary key, or else what is unique and never null.
select array(
    select a.attname::text
    from unnest(i.indkey::smallint[]) with ordinality as k (number, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
    order by k.place
)
from pg_index i
where i.indrelid = to_regclass(:name::text) and i.indisunique and i.indpred is null and i.indexprs is null
order by i.indisprimary desc, i.indexrelid
limit 1

-- name: set_counter
-- The next row's number is the one after the highest.
select setval(pg_get_serial_sequence(:name::text, :column::text), :next, false)

-- name: servers_at_work
select count(*) from servers where seen_at_ms > (extract(epoch from clock_timestamp()) * 1000)::bigint - 10000

-- name: let_audit_be_emptied
alter table audit disable trigger audit_is_not_emptied

-- name: guard_audit
alter table audit enable trigger audit_is_not_emptied

-- name: drop_moving
drop table if exists moving

-- name: hold_for_copy
select pg_advisory_lock(7811, 3)
