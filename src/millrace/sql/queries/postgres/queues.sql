-- name: queue_state
select
    q.value, q.lane, l.backlog_count + c.count, l.backlog_bytes + c.bytes, l.features,
    c.unfolded
from queues q
join lanes l on l.lane = q.lane
cross join lateral (
    select
        coalesce(sum(count), 0)::bigint as count, coalesce(sum(bytes), 0)::bigint as bytes, count(*) as unfolded
    from backlog_changes
    where lane = l.lane and written_by >= l.folded_below
) c
where q.id = :id

-- name: queue_state_each
select
    wanted.place, q.value, q.lane, l.backlog_count + c.count, l.backlog_bytes + c.bytes, l.features,
    c.unfolded
from unnest(:id::text[]) with ordinality as wanted (id, place)
join queues q on q.id = wanted.id
join lanes l on l.lane = q.lane
cross join lateral (
    select
        coalesce(sum(count), 0)::bigint as count, coalesce(sum(bytes), 0)::bigint as bytes, count(*) as unfolded
    from backlog_changes
    where lane = l.lane and written_by >= l.folded_below
) c

-- name: queues_with_backlog
select q.value, q.lane
from lanes l
join queues q on q.lane = l.lane
where
    l.backlog_count > 0
    or exists (select 1 from backlog_changes c where c.lane = l.lane and c.written_by >= l.folded_below)

-- name: backlogs
select q.name, q.lane, l.backlog_count + c.count, l.backlog_bytes + c.bytes
from queues q
join lanes l on l.lane = q.lane
cross join lateral (
    select coalesce(sum(count), 0)::bigint as count, coalesce(sum(bytes), 0)::bigint as bytes
    from backlog_changes
    where lane = l.lane and written_by >= l.folded_below
) c
where q.account_id = :account_id

-- name: add_backlog
insert into backlog_changes (count, bytes, lane) values (:count, :bytes, :lane)

-- name: add_backlog_each
insert into backlog_changes (count, bytes, lane)
select * from unnest(:count::bigint[], :bytes::bigint[], :lane::bigint[])

-- name: hold_fold
-- One server folds a lane at a time, and nobody waits for that.
select 1 from lanes where lane = :lane for update skip locked

-- name: fold_backlog
-- Whoever wrote below the oldest transaction under way has come to its end, so no change can turn up there later.
with folded as (
    delete from backlog_changes
    where
        lane = :lane and written_by >= (select folded_below from lanes where lane = :lane)
        and written_by < pg_snapshot_xmin(pg_current_snapshot())
    returning count, bytes
)
update lanes
set
    backlog_count = backlog_count + (select coalesce(sum(count), 0) from folded),
    backlog_bytes = backlog_bytes + (select coalesce(sum(bytes), 0) from folded),
    folded_below = pg_snapshot_xmin(pg_current_snapshot())
where lane = :lane

-- name: insert_lane
-- A number that is given a second time must not begin with what a late settlement wrote under it.
with forgotten as (delete from backlog_changes where lane = :lane)
insert into lanes (lane) values (:lane)

-- name: delete_lane
with forgotten as (delete from backlog_changes where lane = :lane)
delete from lanes where lane = :lane

-- name: redriving_queues
select value from queues where value::json #>> '{settings,auto_redrive}' is not null order by id

-- name: pushed_queues
select value from queues where value::json #>> '{consumer,type}' = 'http_push' order by id
