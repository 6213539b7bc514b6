-- name: insert_event_subscription
insert into event_subscriptions (id, account_id, queue_id, filter, created_at_ms)
values (:id, :account_id, :queue_id, :filter, :created_at_ms)

-- name: event_subscription
select id, queue_id, filter, created_at_ms from event_subscriptions where id = :id and account_id = :account_id

-- name: event_subscriptions
select id, queue_id, filter, created_at_ms
from event_subscriptions
where account_id = :account_id
order by created_at_ms, id

-- name: count_event_subscriptions
select count(*) from event_subscriptions where account_id = :account_id

-- name: delete_event_subscription
delete from event_subscriptions where id = :id and account_id = :account_id
