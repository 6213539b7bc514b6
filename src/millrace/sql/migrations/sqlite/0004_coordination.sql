-- Locks, claims, states and what else applications share beyond messages.
-- What has ended counts as absent from that moment on; the sweep removes its row at leisure.

-- A row is a lock that somebody holds. Tokens come from the store's own counter, so a row may go with its holder.
create table locks (
    account_id text not null,
    key text not null,
    lock_id text not null,
    owner text not null,
    token integer not null,
    ends_at_ms integer not null,
    primary key (account_id, key)
) strict, without rowid;

-- serves: sweep_locks
create index locks_ended on locks (ends_at_ms);

create table claims (
    account_id text not null,
    scope text not null,
    key text not null,
    holder text not null,
    ends_at_ms integer, -- null: until it is released
    primary key (account_id, scope, key)
) strict, without rowid;

-- serves: sweep_claims
create index claims_ended on claims (ends_at_ms) where ends_at_ms is not null;

-- Every version of a state that is kept; the highest one is the state. Null is a state that was removed: it
-- stays for a while, so that versions go on and followers are told.
create table states (
    number integer primary key,
    account_id text not null,
    kind text not null,
    key text not null,
    version integer not null,
    at_ms integer not null,
    value text -- JSON
) strict;

-- serves: latest_state, states_after, trim_state
create unique index states_version on states (account_id, kind, key, version);

-- serves: sweep_states; only removed states are in it
create index states_removed on states (at_ms) where value is null;

create table kv (
    number integer primary key,
    account_id text not null,
    namespace text not null,
    key blob not null, -- UTF-8; no text holds the byte ff, which therefore ends the range of a prefix
    value blob not null,
    metadata text,         -- JSON
    expires_at_ms integer, -- null: never
    unique (account_id, namespace, key)
) strict;

-- serves: sweep_kv
create index kv_ended on kv (expires_at_ms) where expires_at_ms is not null;

-- A bucket that is full again is no different from one that never was, so its row may go.
create table caller_buckets (
    account_id text not null,
    name text not null,
    tokens real not null, -- at the time at_ms; below 0 never
    at_ms integer not null,
    full_at_ms integer not null,
    primary key (account_id, name)
) strict, without rowid;

-- serves: sweep_caller_buckets
create index caller_buckets_full on caller_buckets (full_at_ms);
