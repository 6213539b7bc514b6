-- name: workflow_steps
select name, number, status, result, attempts, error, wakes_at_ms
from workflow_steps
where account_id = :account_id and workflow = :workflow and instance_id = :id
order by position

-- name: forget_workflow_steps
delete from workflow_steps
where position in (
    select position
    from workflow_steps
    where account_id = :account_id and workflow = :workflow and instance_id = :id
    limit :limit
)
returning 1
