-- A store as a program of schema version 1 left it: its tables, and rows of each kind that matters.
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

insert into store values
(1, '01a2023af91a7365bbb6ea2e389d6ebf', 1048577, 1700000000000, '3e0a2e27-7d6b-4983-b6f1-afece131169d', 12422670);

insert into lanes values (1, 1, 3, 18), (2, 1, 1, 6);

insert into queues values
('00000000000000000000000000000001', 'local', 'letters', 1700000000000, 1700000000000, 1,
'{"id":"00000000000000000000000000000001","account_id":"local","name":"letters","created_at_ms":1700000000000,"modified_at_ms":1700000000000,"settings":{"delivery_delay":0,"delivery_paused":false,"message_retention_period":345600,"max_backlog_messages":null,"max_backlog_bytes":null},"jurisdiction":null,"producers":[],"consumer":{"id":"00000000000000000000000000000002","type":"http_pull","created_at_ms":1700000000000,"script_name":"","environment_name":null,"dead_letter_queue":"dead","settings":{"batch_size":10,"max_retries":1,"max_wait_time_ms":5000,"max_concurrency":null,"visibility_timeout_ms":30000,"retry_delay":0}},"purge_started_at_ms":null}'),
('00000000000000000000000000000003', 'local', 'dead', 1700000000000, 1700000000000, 2,
'{"id":"00000000000000000000000000000003","account_id":"local","name":"dead","created_at_ms":1700000000000,"modified_at_ms":1700000000000,"settings":{"delivery_delay":0,"delivery_paused":false,"message_retention_period":345600,"max_backlog_messages":null,"max_backlog_bytes":null},"jurisdiction":null,"producers":[],"consumer":null,"purge_started_at_ms":null}');

insert into messages values
(8796093022209, 1, 1700000030000, 77, 1700000030000, 0, 1, 0, 1700000000000, 1700000000000, '00000000000000000000000000000011', 'text', 'http', null, null, null, x'6C6561736564'),
(8796093022210, 1, 1700000000000, null, null, 0, 0, 0, 1700000000000, 1700000000000, '00000000000000000000000000000012', 'text', 'http', '{"X-Correlation-ID":"c"}', null, null, x'7265616479'),
(8796093022211, 1, 1700003600000, null, null, 0, 0, 0, 1700000000000, 1700000000000, '00000000000000000000000000000013', 'text', 'http', null, null, null, x'64656C61796564'),
(17592186044420, 2, 1700000000000, null, null, 0, 0, 0, 1700000000000, 1700000000000, '00000000000000000000000000000014', 'text', 'http', null, '00000000000000000000000000000001', 'max_retries', x'627572696564');

pragma user_version = 1;
