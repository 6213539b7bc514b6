-- Files of what was removed.

create table archives (
    account_id text not null,
    id text not null,
    target text not null,
    object_key text not null,
    lines integer not null,
    bytes integer not null,
    sha256 text not null,                -- of the file
    older_than_ms integer not null,
    created_at_ms integer not null,
    restored_at_ms integer,
    primary key (account_id, id)
) strict;

-- serves: archives
create index archives_by_age on archives (account_id, created_at_ms);
