-- Jobs: what the queue does not know of its messages, and the runs that they belong to.

create table runs (
    account_id text not null,
    id text not null,
    tenant_id text not null,
    r2_key text not null,
    job_id text not null,               -- the latest one
    stage text,                         -- what the agent says it is doing; counts while the job is leased
    text_bytes integer,                 -- null while there is no text
    object_bytes integer,               -- of the upload; null while it is not there
    created_at_ms integer not null,
    primary key (account_id, id)
) strict, without rowid;

-- Beside runs, whose rows are read with every pull and so stay small.
create table run_results (
    account_id text not null,
    run_id text not null,
    text text,                          -- null when there is none, or when it lies as an object under text_key
    text_key text,
    result text,                        -- JSON
    primary key (account_id, run_id)
) strict;

-- Pending and leased are what the message says; only an end is stored.
create table jobs_rows (
    id text primary key,                -- that of its message
    account_id text not null,
    run_id text not null,
    tenant_id text not null,
    r2_key text not null,
    message_key integer not null,       -- where its message lies or lay
    attempts integer not null default 0, -- as of the latest delivery; a message that is gone cannot tell
    outcome text check (outcome in ('done', 'failed')),
    receipt integer,                    -- of the delivery that ended it: a repeated ack is told from a late one
    error text,
    key_hash blob,                      -- SHA-256 of the caller's idempotency key
    created_at_ms integer not null,
    updated_at_ms integer not null
) strict, without rowid;

-- serves: jobs_of_tenant, job_counts, unsettled_jobs
create index jobs_by_outcome on jobs_rows (account_id, outcome, tenant_id, message_key);

-- serves: job_with_key
create unique index jobs_by_key on jobs_rows (account_id, key_hash) where key_hash is not null;

create table uploads (
    run_id text primary key,
    account_id text not null,
    r2_key text not null,               -- where it goes, whatever later jobs of the run name
    content_type text not null,
    max_bytes integer not null,
    expires_at_ms integer not null,
    secret blob not null,               -- signs its URL
    size integer,                       -- null until it is there
    etag text,
    uploaded_at_ms integer
) strict, without rowid;
