-- name: has_table
select 1 from sqlite_schema where type = 'table' and name = :name

-- name: create_moving
create table moving (
    name text primary key,
    row_count integer not null,
    position blob not null,
    finished_at_ms integer
) strict, without rowid

-- name: store_numbers
select id, next_sequence, now_ms from store

-- name: move_store
-- The boot is left open: uptimes of another machine say nothing here.
update store set id = :id, next_sequence = :next_number, now_ms = :now_ms, boot_id = '', uptime_ms = 0

-- name: forget_audit_given
delete from sqlite_sequence where name = 'audit'

-- name: set_audit_given
insert into sqlite_sequence (name, seq) values ('audit', :given)

-- name: columns_of
-- 1 in `pk` is the first column of the primary key. `wr` is 1 without a rowid.
select c.name, c.type, c.pk, t.wr
from pragma_table_list(:name) t, pragma_table_info(:name) c
where t.schema = 'main'
order by c.cid
