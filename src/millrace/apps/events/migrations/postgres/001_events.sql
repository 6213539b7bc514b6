-- Subscriptions of events. Where one leads, its secret and what waits for it are its queue's.

create table event_subscriptions (
    id text collate "C" primary key,
    account_id text collate "C" not null,
    queue_id text collate "C" not null,
    filter text not null,               -- JSON: by path, the value or values that an event must have there
    created_at_ms bigint not null
);

-- serves: event_subscriptions, count_event_subscriptions
create index event_subscriptions_by_account on event_subscriptions (account_id, created_at_ms, id);
