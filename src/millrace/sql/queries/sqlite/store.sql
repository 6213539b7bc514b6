-- name: stamp
select id, next_sequence, now_ms, boot_id, uptime_ms from store

-- name: insert_stamp
insert into store (one, id, next_sequence, now_ms, boot_id, uptime_ms) values (1, :id, 1, 0, '', 0)

-- name: set_boot
update store set boot_id = :boot_id

-- name: set_stamp
update store set next_sequence = :next_sequence, now_ms = :now_ms, uptime_ms = :uptime_ms
