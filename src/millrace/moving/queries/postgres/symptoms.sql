-- name: facts_of_database
select
    current_setting('server_version'),
    current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint,
    (select count(*) from pg_stat_activity where datid is not null),
    (select count(*) from pg_stat_activity where datid is not null and application_name = 'millrace'),
    (extract(epoch from clock_timestamp()) * 1000)::bigint

-- name: servers_seen
select about
from servers
where seen_at_ms > (extract(epoch from clock_timestamp()) * 1000)::bigint - 10000
order by about

-- name: oldest_transaction
-- What keeps vacuum from removing the dead.
select coalesce(extract(epoch from max(clock_timestamp() - xact_start)), 0)::bigint
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
