-- name: insert_queue
insert into queues (id, account_id, name, created_at_ms, modified_at_ms, lane, value)
values (:id, :account_id, :name, :created_at_ms, :modified_at_ms, :lane, :value)

-- name: update_queue
update queues set name = :name, modified_at_ms = :modified_at_ms, value = :value where id = :id

-- name: delete_queue
delete from queues where id = :id

-- name: queue_of_lane
select value from queues where lane = :lane

-- name: queue_named
select value from queues where account_id = :account_id and name = :name

-- name: queues
select value from queues where account_id = :account_id order by created_at_ms, id

-- name: next_lane
select coalesce(max(lane), 0) + 1 from lanes

-- name: free_lane
-- Once the highest number is taken: the smallest one that a swept lane has left.
select min(a.lane) + 1 from (select 0 as lane union all select lane from lanes) a
where not exists (select 1 from lanes b where b.lane = a.lane + 1)

-- name: set_lane
update queues set lane = :lane where id = :id

-- name: drop_lane
update lanes set in_use = false where lane = :lane

-- name: next_dropped_lane
select lane from lanes where not in_use order by lane limit 1

-- name: set_features
-- Another server may have noted another one meanwhile.
update lanes set features = features | :features where lane = :lane

-- name: rate_bucket
select tokens, at_ms from rate_buckets where queue_id = :queue_id

-- name: set_rate_bucket
insert into rate_buckets (queue_id, tokens, at_ms) values (:queue_id, :tokens, :at_ms)
on conflict (queue_id) do update set tokens = excluded.tokens, at_ms = excluded.at_ms

-- name: delete_rate_bucket
delete from rate_buckets where queue_id = :queue_id

-- name: insert_subscription
insert into subscriptions (id, account_id, created_at_ms, queue_id, value)
values (:id, :account_id, :created_at_ms, :queue_id, :value)

-- name: update_subscription
update subscriptions set queue_id = :queue_id, value = :value where id = :id and account_id = :account_id

-- name: delete_subscription
delete from subscriptions where id = :id and account_id = :account_id

-- name: subscription
select value from subscriptions where id = :id and account_id = :account_id

-- name: subscriptions
select value from subscriptions where account_id = :account_id order by created_at_ms, id
