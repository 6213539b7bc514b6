-- Cron triggers and workflows.

-- What the programs of this start ask for. Runs due after `seen_until_ms` are still to be decided about.
create table crons (
    account_id text not null,
    program text not null,
    expression text not null,
    queue text not null, -- where its runs are sent to
    seen_until_ms integer not null,
    primary key (account_id, program, expression)
) strict, without rowid;

-- One run, sent in the transaction that wrote its row: so no due time has two. The message tells what the row does not.
create table cron_runs (
    account_id text not null,
    program text not null,
    expression text not null,
    due_at_ms integer not null,
    message_id text not null,
    message_key integer not null,
    sent_at_ms integer not null,
    began_at_ms integer, -- its latest attempt
    ended_at_ms integer, -- of that attempt
    error text,          -- why that one failed; null when it did not
    primary key (account_id, program, expression, due_at_ms)
) strict, without rowid;

-- One run of a workflow, from its creation until 30 days after its end.
create table workflow_instances (
    account_id text not null,
    workflow text not null,
    id text not null,
    message_id text not null, -- of the one message that has it run
    params text not null, -- JSON, as output is
    status text not null, -- queued, running, waiting, complete, errored, terminated
    version integer not null default 0, -- one more with each run; what an earlier run writes does not count
    output text,
    error text,
    created_at_ms integer not null,
    modified_at_ms integer not null,
    wakes_at_ms integer, -- while it waits
    ended_at_ms integer,
    unique (account_id, workflow, id)
) strict;

-- serves: ended_workflows
create index workflow_instances_ended on workflow_instances (ended_at_ms) where ended_at_ms is not null;

-- What the steps of an instance came to. A step is known by its name, and by how often the name came before.
create table workflow_steps (
    account_id text not null,
    workflow text not null,
    instance_id text not null,
    name text not null,
    number integer not null,
    status text not null, -- waiting, complete, errored
    result text, -- JSON
    attempts integer not null,
    error text,
    wakes_at_ms integer, -- while it waits
    noted_at_ms integer not null,
    unique (account_id, workflow, instance_id, name, number)
) strict;
