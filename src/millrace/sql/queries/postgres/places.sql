-- name: places
select number, holder from places where queue_id = :queue_id order by number

-- name: put_place
insert into places (queue_id, number, holder, ends_at_ms) values (:queue_id, :number, :holder, :ends_at_ms)
on conflict (queue_id, number) do update set ends_at_ms = excluded.ends_at_ms

-- name: extend_place
update places set ends_at_ms = :ends_at_ms where queue_id = :queue_id and number = :number and holder = :holder

-- name: give_place_back
delete from places where queue_id = :queue_id and number = :number and holder = :holder

-- name: anybody_in_line
select 1 from places where queue_id = :queue_id and number < 0 limit 1

-- name: end_places
delete from places where queue_id = :queue_id and ends_at_ms <= :now_ms

-- name: sweep_places
delete from places where ends_at_ms <= :now_ms returning 1

-- name: any_place_ended
select 1 from places where ends_at_ms <= :now_ms limit 1
