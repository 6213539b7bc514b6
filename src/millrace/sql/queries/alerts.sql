-- name: insert_alert_rule
insert into alert_rules (id, account_id, name, value, status) values (:id, :account_id, :name, :value, 'ok')

-- name: replace_alert_rule
update alert_rules set name = :name, value = :value where account_id = :account_id and id = :id

-- name: alert_rule
select value, status, held_since_ms, fired_at_ms from alert_rules where account_id = :account_id and id = :id

-- name: alert_rules_of_account
select value, status, held_since_ms, fired_at_ms from alert_rules where account_id = :account_id order by name

-- name: alert_rules
select value, status, held_since_ms, fired_at_ms from alert_rules order by account_id, name

-- name: queues_called
select value from queues where name = :name order by account_id

-- name: delete_alert_rule
delete from alert_rules where account_id = :account_id and id = :id

-- name: move_alert_rule
-- Gives a row only to the one who saw the rule as it is: of two servers that judge at once, one tells of it.
update alert_rules
set status = :status, held_since_ms = :held_since_ms, fired_at_ms = :fired_at_ms
where
    account_id = :account_id and id = :id and value = :value
    and status = :status_before and coalesce(held_since_ms, 0) = :held_before_ms
returning 1
