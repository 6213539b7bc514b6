-- Messages: priority, ordering key, and what else a queue offers beyond the contract.
create table schema_migrations (
    name text primary key,
    version integer not null
) strict, without rowid;
