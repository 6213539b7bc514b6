-- name: set_progress
insert into moving (name, row_count, position, finished_at_ms)
values (:name, :row_count, :position, :finished_at_ms)
on conflict (name) do update
set row_count = excluded.row_count, position = excluded.position, finished_at_ms = excluded.finished_at_ms

-- name: progress
select name, row_count, position, finished_at_ms from moving
