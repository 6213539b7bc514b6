-- name: workflow_steps
select name, number, status, result, attempts, error, wakes_at_ms
from workflow_steps
where account_id = :account_id and workflow = :workflow and instance_id = :id
order by position + 0  -- the index of the instance is to be read, not the whole table in this order

-- name: forget_workflow_steps
delete from workflow_steps
where position = any(array(
    select position
    from workflow_steps
    where account_id = :account_id and workflow = :workflow and instance_id = :id
    limit :limit
))
returning 1
