-- name: keep_cron
insert into crons (account_id, program, expression, queue, seen_until_ms)
values (:account_id, :program, :expression, :queue, :now_ms)
on conflict (account_id, program, expression) do update set queue = excluded.queue

-- name: crons
select account_id, program, expression, queue, seen_until_ms from crons

-- name: crons_of_account
select program, expression, queue from crons where account_id = :account_id order by program, expression

-- name: delete_cron
delete from crons where account_id = :account_id and program = :program and expression = :expression

-- name: delete_cron_runs
delete from cron_runs where account_id = :account_id and program = :program and expression = :expression

-- name: cron_seen
select seen_until_ms, queue
from crons
where account_id = :account_id and program = :program and expression = :expression

-- name: set_cron_seen
-- Never back: another server may have been a moment later and yet quicker.
update crons
set seen_until_ms = case when seen_until_ms > :now_ms then seen_until_ms else :now_ms end
where account_id = :account_id and program = :program and expression = :expression

-- name: insert_cron_run
insert into cron_runs (account_id, program, expression, due_at_ms, message_id, message_key, sent_at_ms)
values (:account_id, :program, :expression, :due_at_ms, :message_id, :message_key, :now_ms)

-- name: last_cron_run
select r.due_at_ms, r.sent_at_ms, r.began_at_ms, r.ended_at_ms, r.error, m.key is not null
from cron_runs r left join messages m on m.key = r.message_key and m.id = r.message_id
where r.account_id = :account_id and r.program = :program and r.expression = :expression
order by r.due_at_ms desc
limit 1

-- name: prune_cron_runs
delete from cron_runs
where account_id = :account_id and program = :program and expression = :expression and due_at_ms <= (
    select due_at_ms
    from cron_runs
    where account_id = :account_id and program = :program and expression = :expression
    order by due_at_ms desc
    limit 1 offset :kept
)

-- name: begin_cron_run
update cron_runs
set began_at_ms = :now_ms, ended_at_ms = null, error = null
where account_id = :account_id and program = :program and expression = :expression and due_at_ms = :due_at_ms

-- name: end_cron_run
update cron_runs
set ended_at_ms = :now_ms, error = :error
where account_id = :account_id and program = :program and expression = :expression and due_at_ms = :due_at_ms
