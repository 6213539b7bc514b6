-- name: touch_store
-- There and back: SQLite writes nothing for a row that is as it was.
update store set now_ms = now_ms + :step

-- name: every_queue
select value, lane from queues order by account_id, name
