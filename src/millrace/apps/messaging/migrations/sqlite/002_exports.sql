-- Files made of messages or of the audit trail. What is to go into one, and what became of it, tells its job.

create table exports (
    account_id text not null,
    id text not null,                    -- the job's
    format text not null,
    reach text not null,                 -- all, or own: what the key sent itself that asked for it
    owner text not null,                 -- that key
    secret blob not null,                -- signs the links to the file
    object_key text,                     -- where the file lies, or is being written
    examined integer not null default 0, -- rows that were looked at
    total integer,                       -- rows to look at; null when there are too many to count
    written integer not null default 0,  -- rows in the file
    bytes integer,
    asked_at_ms integer not null,
    begun_at_ms integer,                 -- the last attempt
    finished_at_ms integer,
    expires_at_ms integer,               -- when the file is to go
    removed_at_ms integer,
    primary key (account_id, id)
) strict;

-- serves: exports_of_owner
create index exports_by_owner on exports (owner, account_id, asked_at_ms);

-- serves: exports_with_files, exports_cut_off
create index exports_by_end on exports (account_id, finished_at_ms, id) where removed_at_ms is null;
