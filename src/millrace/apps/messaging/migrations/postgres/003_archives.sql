-- Files of what was removed.

create table archives (
    account_id text collate "C" not null,
    id text collate "C" not null,
    target text collate "C" not null,
    object_key text not null,
    lines bigint not null,
    bytes bigint not null,
    sha256 text not null,                -- of the file
    older_than_ms bigint not null,
    created_at_ms bigint not null,
    restored_at_ms bigint,
    primary key (account_id, id)
);

-- serves: archives
create index archives_by_age on archives (account_id, created_at_ms);
