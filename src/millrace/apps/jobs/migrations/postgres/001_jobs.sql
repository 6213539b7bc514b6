-- Jobs: what the queue does not know of its messages, and the runs that they belong to. Tables and columns are those of
-- the SQLite store.

create table runs (
    account_id text collate "C" not null,
    id text collate "C" not null,
    tenant_id text collate "C" not null,
    r2_key text not null,
    job_id text collate "C" not null,   -- the latest one
    stage text,                         -- what the agent says it is doing; counts while the job is leased
    text_bytes bigint,                  -- null while there is no text
    object_bytes bigint,                -- of the upload; null while it is not there
    created_at_ms bigint not null,
    primary key (account_id, id)
) with (fillfactor = 80);

-- Beside runs, whose rows are read with every pull and so stay small.
create table run_results (
    account_id text collate "C" not null,
    run_id text collate "C" not null,
    text text,                          -- null when there is none, or when it lies as an object under text_key
    text_key text,
    result text,                        -- JSON
    primary key (account_id, run_id)
);

-- Pending and leased are what the message says; only an end is stored.
create table jobs_rows (
    id text collate "C" primary key,    -- that of its message
    account_id text collate "C" not null,
    run_id text collate "C" not null,
    tenant_id text collate "C" not null,
    r2_key text not null,
    message_key bigint not null,        -- where its message lies or lay
    attempts bigint not null default 0, -- as of the latest delivery; a message that is gone cannot tell
    outcome text collate "C" check (outcome in ('done', 'failed')),
    receipt bigint,                     -- of the delivery that ended it: a repeated ack is told from a late one
    error text,
    key_hash bytea,                     -- SHA-256 of the caller's idempotency key
    created_at_ms bigint not null,
    updated_at_ms bigint not null
) with (fillfactor = 80);

-- serves: jobs_of_tenant, failed_of_tenant, job_counts, missing_jobs
create index jobs_by_outcome on jobs_rows (account_id, outcome, tenant_id, message_key);

-- serves: job_with_key
create unique index jobs_by_key on jobs_rows (account_id, key_hash) where key_hash is not null;

create table uploads (
    run_id text collate "C" primary key,
    account_id text collate "C" not null,
    r2_key text not null,               -- where it goes, whatever later jobs of the run name
    content_type text not null,
    max_bytes bigint not null,
    expires_at_ms bigint not null,
    secret bytea not null,              -- signs its URL
    size bigint,                        -- null until it is there
    etag text,
    uploaded_at_ms bigint
);
