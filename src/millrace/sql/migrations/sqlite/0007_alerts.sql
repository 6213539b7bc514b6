-- Alert rules, and where each stands: so one that fired before a restart does not fire again after it.

create table alert_rules (
    id text not null,
    account_id text not null,
    name text not null,
    value text not null, -- JSON, the secrets of webhooks included
    status text not null, -- ok, pending or firing
    held_since_ms integer,
    fired_at_ms integer,
    primary key (account_id, id),
    unique (account_id, name)
) strict, without rowid;
