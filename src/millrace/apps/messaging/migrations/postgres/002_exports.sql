-- Files made of messages or of the audit trail. What is to go into one, and what became of it, tells its job.

create table exports (
    account_id text collate "C" not null,
    id text collate "C" not null,                    -- the job's
    format text collate "C" not null,
    reach text collate "C" not null,                 -- all, or own: what the key sent itself that asked for it
    owner text collate "C" not null,                 -- that key
    secret bytea not null,                -- signs the links to the file
    object_key text,                     -- where the file lies, or is being written
    examined bigint not null default 0, -- rows that were looked at
    total bigint,                       -- rows to look at; null when there are too many to count
    written bigint not null default 0,  -- rows in the file
    bytes bigint,
    asked_at_ms bigint not null,
    begun_at_ms bigint,                 -- the last attempt
    finished_at_ms bigint,
    expires_at_ms bigint,               -- when the file is to go
    removed_at_ms bigint,
    primary key (account_id, id)
);

-- serves: exports_of_owner
create index exports_by_owner on exports (owner, account_id, asked_at_ms);

-- serves: exports_with_files, exports_cut_off
create index exports_by_end on exports (account_id, finished_at_ms, id) where removed_at_ms is null;
