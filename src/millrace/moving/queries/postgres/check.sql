-- name: backlog_of_lanes
-- What is not yet folded counts, too.
select q.name, l.lane, (l.backlog_count + c.count)::bigint, (l.backlog_bytes + c.bytes)::bigint
from lanes l
join queues q on q.lane = l.lane
cross join lateral (
    select coalesce(sum(count), 0) as count, coalesce(sum(bytes), 0) as bytes
    from backlog_changes
    where lane = l.lane and written_by >= l.folded_below
) c
order by q.name

-- name: settings_of_database
-- As a session begins with them, whatever this one has set.
select name, reset_val
from pg_settings
where name in ('fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum', 'server_encoding', 'max_connections')

-- name: rights_missing
select t.name
from unnest(:names::text[]) as t (name)
where
    to_regclass(t.name) is not null
    and not (
        has_table_privilege(t.name, 'select') and has_table_privilege(t.name, 'insert')
        and has_table_privilege(t.name, 'update') and has_table_privilege(t.name, 'delete')
    )
order by t.name

-- name: rights_on_numbers
select has_sequence_privilege('numbers', 'usage') and has_sequence_privilege('numbers', 'update')

-- name: broken_indexes
select c.relname::text
from pg_index i
join pg_class c on c.oid = i.indexrelid
where c.relnamespace = current_schema()::regnamespace and not i.indisvalid
order by c.relname

-- name: autovacuum_off
select c.relname::text
from pg_class c
where c.relnamespace = current_schema()::regnamespace and c.reloptions::text ~ 'autovacuum_enabled=(false|off)'
order by c.relname
