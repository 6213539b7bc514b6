-- Times are epoch milliseconds. A state that times and receipt tell is not stored.

create table store (
    one integer primary key check (one = 1),
    id text not null,
    next_sequence integer not null,
    now_ms integer not null,
    boot_id text not null,
    uptime_ms integer not null
) strict;

create table queues (
    id text primary key,
    account_id text not null,
    name text not null,
    created_at_ms integer not null,
    modified_at_ms integer not null,
    lane integer not null unique references lanes (lane),
    value text not null, -- the whole queue with settings and consumer, as JSON
    unique (account_id, name)
) strict, without rowid;

-- A queue's messages lie in a lane. A purge gives the queue a new lane and the old one is swept
-- at leisure; a delete only lets go of the lane. So both take one short transaction at any depth.
create table lanes (
    lane integer primary key,
    in_use integer not null default 1,
    backlog_count integer not null default 0,
    backlog_bytes integer not null default 0
) strict;

-- serves: next_dropped_lane
create index lanes_dropped on lanes (lane) where not in_use;

-- key = lane << 43 | sequence: the table itself is ordered by lane and arrival, so oldest, peek, purge
-- and expiry read it in place, and a lease id finds its row and its queue at once.
create table messages (
    key integer primary key,
    lane integer not null,
    visible_at_ms integer not null, -- end of a delay, of a retry delay or of a lease
    receipt integer,                -- secret of the latest delivery; null while there is none
    lease_ends_at_ms integer,       -- of that delivery; visible_at_ms is later by the retry delay of that moment
    is_last integer not null default 0, -- the delivery under way may not be followed by another
    attempts integer not null default 0,
    failures integer not null default 0,
    kept_since_ms integer not null, -- retention counts from here
    sent_at_ms integer not null,
    id text not null,
    content_type text not null,
    source text not null,
    headers text,
    origin_queue_id text,
    reason text,
    body blob not null
) strict;

-- serves: ready, next_due
create index messages_ready on messages (lane, visible_at_ms);

-- serves: lapsed_last; only deliveries without a successor are in it, so it is nearly always empty
create index messages_last on messages (visible_at_ms) where is_last;

create table subscriptions (
    id text primary key,
    account_id text not null,
    created_at_ms integer not null,
    queue_id text not null,
    value text not null
) strict, without rowid;

create table api_keys (
    id text primary key,
    account_id text not null,
    created_at_ms integer not null,
    secret_hash blob not null unique,
    value text not null
) strict, without rowid;
