-- name: insert_workflow
insert into workflow_instances (account_id, workflow, id, message_id, params, status, created_at_ms, modified_at_ms)
values (:account_id, :workflow, :id, :message_id, :params, 'queued', :now_ms, :now_ms)

-- name: workflow
select params, status, version, output, error, created_at_ms, modified_at_ms, wakes_at_ms, ended_at_ms
from workflow_instances
where account_id = :account_id and workflow = :workflow and id = :id

-- name: begin_workflow
update workflow_instances
set status = 'running', version = version + 1, modified_at_ms = :now_ms, wakes_at_ms = null
where
    account_id = :account_id and workflow = :workflow and id = :id
    and message_id = :message_id and ended_at_ms is null
returning version, params, created_at_ms

-- name: touch_workflow
-- Gives a row only to the latest run of an instance that has not ended.
update workflow_instances
set modified_at_ms = :now_ms
where
    account_id = :account_id and workflow = :workflow and id = :id
    and version = :version and ended_at_ms is null
returning 1

-- name: note_workflow_step
insert into workflow_steps
    (account_id, workflow, instance_id, name, number, status, result, attempts, error, wakes_at_ms, noted_at_ms)
values
    (:account_id, :workflow, :id, :name, :number, :status, :result, :attempts, :error, :wakes_at_ms, :now_ms)
on conflict (account_id, workflow, instance_id, name, number) do update
set
    status = excluded.status, result = excluded.result, attempts = excluded.attempts, error = excluded.error,
    wakes_at_ms = excluded.wakes_at_ms, noted_at_ms = excluded.noted_at_ms

-- name: end_workflow_run
update workflow_instances
set status = :status, output = :output, error = :error, wakes_at_ms = :wakes_at_ms, ended_at_ms = :ended_at_ms
where account_id = :account_id and workflow = :workflow and id = :id

-- name: terminate_workflow
update workflow_instances
set status = 'terminated', version = version + 1, modified_at_ms = :now_ms, ended_at_ms = :now_ms, wakes_at_ms = null
where account_id = :account_id and workflow = :workflow and id = :id and ended_at_ms is null
returning 1

-- name: ended_workflows
select account_id, workflow, id
from workflow_instances
where ended_at_ms is not null and ended_at_ms <= :ended_before_ms
order by ended_at_ms
limit :limit

-- name: forget_workflow
delete from workflow_instances where account_id = :account_id and workflow = :workflow and id = :id
