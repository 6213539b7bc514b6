-- name: backlog_of_lanes
select q.name, l.lane, l.backlog_count, l.backlog_bytes
from lanes l
join queues q on q.lane = l.lane
order by q.name
