-- name: queue_state
select q.value, q.lane, l.backlog_count, l.backlog_bytes, l.features, 0
from queues q join lanes l on l.lane = q.lane
where q.id = :id

-- name: queues_with_backlog
select q.value, q.lane
from lanes l join queues q on q.lane = l.lane
where l.backlog_count > 0

-- name: backlogs
select q.name, q.lane, l.backlog_count, l.backlog_bytes
from queues q join lanes l on l.lane = q.lane
where q.account_id = :account_id

-- name: add_backlog
update lanes
set backlog_count = backlog_count + :count, backlog_bytes = backlog_bytes + :bytes
where lane = :lane

-- name: redriving_queues
select value from queues where value ->> '$.settings.auto_redrive' is not null order by id

-- name: pushed_queues
select value
from queues
where value ->> '$.consumer.type' = 'http_push'
order by id;

-- name: insert_lane
insert into lanes (lane) values (:lane)

-- name: delete_lane
delete from lanes where lane = :lane
