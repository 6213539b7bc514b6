-- The tables of the SQLite store, with the same names and columns; what differs says why.
-- Texts compare byte by byte ("C"), as everywhere else in the program.

create table schema_migrations (
    name text collate "C" primary key,
    version bigint not null
);

create table store (
    one bigint primary key check (one = 1),
    id text not null,
    now_ms bigint not null
);

-- Rises with each change of queues and keys, so that every server looks them up anew.
create table changes (
    one bigint primary key check (one = 1),
    version bigint not null
) with (fillfactor = 50);

insert into changes values (1, 0);

create function note_change() returns trigger language plpgsql as $$
begin
    update changes set version = version + 1;
    return null;
end
$$;

-- Numbers of messages, locks and what else needs one that is higher than those before. A block is taken at once; the
-- lock is held for that moment only, so blocks do not overlap and nobody waits for a commit.
create sequence numbers;

create function take_numbers(wanted bigint) returns bigint language plpgsql as $$
declare
    last bigint;
begin
    if wanted = 1 then
        return nextval('numbers');
    end if;
    perform pg_advisory_lock(7811, 1);
    begin
        last := setval('numbers', nextval('numbers') + wanted - 1);
    exception when others or query_canceled then  -- a rollback does not give the lock back, and all would wait for it
        perform pg_advisory_unlock(7811, 1);
        raise;
    end;
    perform pg_advisory_unlock(7811, 1);
    return last - wanted + 1;
end
$$;

-- backlog_count and backlog_bytes are what was folded; the rest lies in backlog_changes. One running row would make
-- all servers wait for each other's commits.
create table lanes (
    lane bigint primary key,
    in_use boolean not null default true,
    backlog_count bigint not null default 0,
    backlog_bytes bigint not null default 0,
    features bigint not null default 0,
    folded_below xid8 not null default '0'
) with (fillfactor = 50);

-- serves: next_dropped_lane
create index lanes_dropped on lanes (lane) where not in_use;

-- A row for each commit that changed a lane's backlog. Those of transactions that are all over are folded into the lane.
create table backlog_changes (
    lane bigint not null,
    written_by xid8 not null default pg_current_xact_id(),
    count bigint not null,
    bytes bigint not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_cost_delay = 0);

-- serves: queue_state, backlogs, fold_backlog
create index backlog_changes_of_lane on backlog_changes (lane, written_by);

create table queues (
    id text collate "C" primary key,
    account_id text collate "C" not null,
    name text collate "C" not null,
    created_at_ms bigint not null,
    modified_at_ms bigint not null,
    lane bigint not null unique references lanes (lane),
    value text not null,
    unique (account_id, name)
);

-- serves: redriving_queues
create index queues_redriving on queues (id) where value::json #>> '{settings,auto_redrive}' is not null;

create trigger queues_changed after insert or update or delete on queues
for each statement execute function note_change();

-- Every delivery rewrites a row and every ack removes one, so the dead have to go fast: autovacuum begins after 20,000 of
-- them at any size of the table, and does not pause.
create table messages (
    key bigint primary key,
    lane bigint not null,
    visible_at_ms bigint not null,
    receipt bigint,
    lease_ends_at_ms bigint,
    is_last boolean not null default false,
    attempts bigint not null default 0,
    failures bigint not null default 0,
    kept_since_ms bigint not null,
    sent_at_ms bigint not null,
    priority bigint not null default 1,
    due_at_ms bigint,
    redrives bigint not null default 0,
    id text collate "C" not null,
    content_type text not null,
    source text not null,
    headers text,
    ordering_key text collate "C",
    origin_queue_id text,
    reason text,
    body bytea not null
) with (
    fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 100000, autovacuum_vacuum_cost_delay = 0
);

-- Bodies are often compressed already, or encrypted; trying again costs more than it saves.
alter table messages alter column body set storage external;

-- serves: ready, ready_at_level, glance, next_due. The key is in it, so that ties need no sorting.
create index messages_ready on messages (lane, priority, visible_at_ms, key);

-- serves: lapsed_last
create index messages_last on messages (visible_at_ms) where is_last;

-- serves: is_ordered, free_next
create index messages_ordered on messages (lane, ordering_key, key) where ordering_key is not null;

create table rate_buckets (
    queue_id text collate "C" primary key,
    tokens double precision not null,
    at_ms bigint not null
);

create table subscriptions (
    id text collate "C" primary key,
    account_id text collate "C" not null,
    created_at_ms bigint not null,
    queue_id text not null,
    value text not null
);

create table api_keys (
    id text collate "C" primary key,
    account_id text collate "C" not null,
    created_at_ms bigint not null,
    secret_hash bytea not null unique,
    value text not null
);

create trigger api_keys_changed after insert or update or delete on api_keys
for each statement execute function note_change();

create table idempotency (
    number bigint generated by default as identity primary key,
    queue_id text collate "C" not null,
    key_hash bytea not null,
    content_hash bytea not null,
    message_id text not null,
    created_at_ms bigint not null
);

-- serves: earlier_sends
create unique index idempotency_key on idempotency (queue_id, key_hash);

create table locks (
    account_id text collate "C" not null,
    key text collate "C" not null,
    lock_id text not null,
    owner text not null,
    token bigint not null,
    ends_at_ms bigint not null,
    primary key (account_id, key)
);

-- serves: sweep_locks
create index locks_ended on locks (ends_at_ms);

create table claims (
    account_id text collate "C" not null,
    scope text collate "C" not null,
    key text collate "C" not null,
    holder text not null,
    ends_at_ms bigint,
    primary key (account_id, scope, key)
);

-- serves: sweep_claims
create index claims_ended on claims (ends_at_ms) where ends_at_ms is not null;

create table states (
    number bigint generated by default as identity primary key,
    account_id text collate "C" not null,
    kind text collate "C" not null,
    key text collate "C" not null,
    version bigint not null,
    at_ms bigint not null,
    value text
);

-- serves: latest_state, states_after, trim_state
create unique index states_version on states (account_id, kind, key, version);

-- serves: sweep_states
create index states_removed on states (at_ms) where value is null;

create table kv (
    number bigint generated by default as identity primary key,
    account_id text collate "C" not null,
    namespace text collate "C" not null,
    key bytea not null,
    value bytea not null,
    metadata text,
    expires_at_ms bigint,
    unique (account_id, namespace, key)
);

-- serves: sweep_kv
create index kv_ended on kv (expires_at_ms) where expires_at_ms is not null;

create table caller_buckets (
    account_id text collate "C" not null,
    name text collate "C" not null,
    tokens double precision not null,
    at_ms bigint not null,
    full_at_ms bigint not null,
    primary key (account_id, name)
);

-- serves: sweep_caller_buckets
create index caller_buckets_full on caller_buckets (full_at_ms);

create table crons (
    account_id text collate "C" not null,
    program text collate "C" not null,
    expression text collate "C" not null,
    queue text not null,
    seen_until_ms bigint not null,
    primary key (account_id, program, expression)
);

create table cron_runs (
    account_id text collate "C" not null,
    program text collate "C" not null,
    expression text collate "C" not null,
    due_at_ms bigint not null,
    message_id text not null,
    message_key bigint not null,
    sent_at_ms bigint not null,
    began_at_ms bigint,
    ended_at_ms bigint,
    error text,
    primary key (account_id, program, expression, due_at_ms)
);

create table workflow_instances (
    account_id text collate "C" not null,
    workflow text collate "C" not null,
    id text collate "C" not null,
    message_id text not null,
    params text not null,
    status text not null,
    version bigint not null default 0,
    output text,
    error text,
    created_at_ms bigint not null,
    modified_at_ms bigint not null,
    wakes_at_ms bigint,
    ended_at_ms bigint,
    unique (account_id, workflow, id)
);

-- serves: ended_workflows
create index workflow_instances_ended on workflow_instances (ended_at_ms) where ended_at_ms is not null;

-- `position` is the order in which steps were noted first; SQLite has its rowid for that.
create table workflow_steps (
    position bigint generated by default as identity primary key,
    account_id text collate "C" not null,
    workflow text collate "C" not null,
    instance_id text collate "C" not null,
    name text collate "C" not null,
    number bigint not null,
    status text not null,
    result text,
    attempts bigint not null,
    error text,
    wakes_at_ms bigint,
    noted_at_ms bigint not null,
    unique (account_id, workflow, instance_id, name, number)
);

-- A sequence would leave gaps and count out of order; this row is locked until the entry is committed.
create table audit_numbers (
    one bigint primary key check (one = 1),
    given bigint not null
) with (fillfactor = 50);

insert into audit_numbers values (1, 0);

create table audit (
    number bigint primary key,
    account_id text collate "C" not null,
    at_ms bigint not null,
    actor text not null,
    act text not null,
    object text not null,
    details text not null,
    correlation_id text not null,
    hash bytea
);

-- serves: audit_page
create index audit_of_account on audit (account_id, number);

-- serves: audit_unchained
create index audit_without_hash on audit (number) where hash is null;

create table audit_head (
    one bigint primary key check (one = 1),
    number bigint not null,
    hash bytea not null
);

insert into audit_head (one, number, hash) values (1, 0, decode(repeat('00', 32), 'hex'));

create function refuse_audit_change() returns trigger language plpgsql as $$
begin
    raise exception 'audit entries are not changed or deleted';
end
$$;

create trigger audit_stays before delete on audit for each row execute function refuse_audit_change();

create trigger audit_is_not_emptied before truncate on audit for each statement execute function refuse_audit_change();

create trigger audit_keeps_its_words before update of
    number, account_id, at_ms, actor, act, object, details, correlation_id on audit
for each row execute function refuse_audit_change();

create trigger audit_keeps_its_hash before update of hash on audit
for each row when (old.hash is not null) execute function refuse_audit_change();

create table secrets (
    account_id text collate "C" not null,
    name text collate "C" not null,
    nonce bytea not null,
    ciphertext bytea not null,
    key_id text collate "C" not null,
    created_at_ms bigint not null,
    updated_at_ms bigint not null,
    primary key (account_id, name)
);

create trigger secrets_changed after insert or update or delete on secrets
for each statement execute function note_change();

-- The servers at work on this database: each writes its row once a second, and tells what is watched there.
create unlogged table servers (
    id text collate "C" primary key,
    seen_at_ms bigint not null,
    watched text[] not null,
    about text not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Batches under way of consumers whose concurrency is limited, over all servers.
create table places (
    queue_id text collate "C" not null,
    number bigint not null,
    holder text not null,
    ends_at_ms bigint not null,
    primary key (queue_id, number)
) with (fillfactor = 50);
