-- name: queues_without_lane
select name from queues q where not exists (select 1 from lanes l where l.lane = q.lane) order by name

-- name: messages_without_lane
select lane, count(*)
from messages m
where not exists (select 1 from lanes l where l.lane = m.lane)
group by lane
order by lane

-- name: messages_out_of_place
select count(*) from messages where key >> 43 <> lane

-- name: highest_number
select coalesce(max(key & 8796093022207), 0) from messages

-- name: lanes_without_priority
-- Bit 1 of the features: who receives looks at other priorities than normal only where it is set.
select distinct m.lane
from messages m
join lanes l on l.lane = m.lane
where l.in_use and m.priority <> 1 and l.features & 1 = 0
order by m.lane

-- name: lanes_without_order
-- Bit 2: it has messages with an ordering key.
select distinct m.lane
from messages m
join lanes l on l.lane = m.lane
where l.in_use and m.ordering_key is not null and l.features & 2 = 0
order by m.lane

-- name: rows_of_lanes
select lane, count(*), coalesce(sum(length(body)), 0) from messages group by lane
