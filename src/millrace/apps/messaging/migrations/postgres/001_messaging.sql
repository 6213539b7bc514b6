-- Messages on their way out, and the other jobs of the application: a row each, and a line for whatever became of it.
-- Tables and columns are those of the SQLite store.

create table outbound_messages (
    account_id text collate "C" not null,
    id text collate "C" not null,            -- the sender's: messageId or exportId; of a clean-up that of its job
    type text collate "C" not null,
    status text collate "C" not null,
    priority text collate "C" not null,
    body bytea not null,                     -- the job as JSON; sealed where key_id names a master key
    key_id text,
    body_hash bytea not null,                -- tells a repeat from another job under the same id
    job_id text collate "C",                 -- of its message in the queue; null for what was never queued
    message_key bigint,                      -- where that message lies or lay
    attempts bigint not null default 0,      -- that were begun, but for those that were put off
    changes bigint not null default 0,       -- lines in message_history
    due_at_ms bigint,                        -- when it is, or was, to be delivered at the earliest
    reason text,                             -- of the last failure, refusal or rejection
    provider text collate "C",
    provider_id text collate "C",            -- under which the provider reports
    owner text collate "C" not null,         -- the key that brought it
    correlation_id text not null,
    created_at_ms bigint not null,
    updated_at_ms bigint not null
) with (fillfactor = 80);

-- serves: outbound_page
create index outbound_by_age on outbound_messages (account_id, created_at_ms, id);

-- serves: outbound_counts, outbound_of_status, outbound_ended_since, outbound_failures
create index outbound_by_status on outbound_messages (account_id, status, updated_at_ms, id);

-- serves: outbound_scheduled
create index outbound_by_due on outbound_messages (account_id, due_at_ms) where status = 'queued' and due_at_ms is not null;

-- serves: outbound_of_jobs
create unique index outbound_by_job on outbound_messages (account_id, job_id) where job_id is not null;

-- serves: outbound_of_provider
create index outbound_by_provider on outbound_messages (account_id, provider, provider_id) where provider_id is not null;

-- After the others: where statistics are missing, as in a new database, PostgreSQL prefers the latest of equal indexes.
alter table outbound_messages add primary key (account_id, id);

create table message_history (
    account_id text collate "C" not null,
    message_id text collate "C" not null,
    number bigint not null,                  -- 1, 2, 3 within a message
    at_ms bigint not null,
    status text collate "C" not null,
    attempt bigint not null,
    reason text,
    provider text,
    actor text not null,
    primary key (account_id, message_id, number)
);
