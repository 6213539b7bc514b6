-- A message at a time, by its key, as in messages.sql; `offset 0` keeps it from making one join of the two.

-- name: history_of_ids
select one.*
from unnest(:ids::text[]) wanted (id)
cross join lateral (
    select message_id, number, at_ms, status, attempt, reason, provider, actor
    from message_history
    where account_id = :account_id and message_id = wanted.id
    offset 0
) one
order by one.message_id, one.number

-- name: delete_outbound
-- What somebody has touched since it was archived stays.
delete from outbound_messages gone
using unnest(:ids::text[]) wanted (id)
where
    gone.account_id = :account_id and gone.id = wanted.id and gone.updated_at_ms < :older_than_ms
    and gone.status in ('rejected', 'cancelled', 'sent', 'stored', 'delivered', 'undelivered', 'failed', 'done')
returning gone.id

-- name: delete_history
delete from message_history
where ctid = any(array(
    select one.place
    from unnest(:ids::text[]) wanted (id)
    cross join lateral (
        select ctid as place from message_history where account_id = :account_id and message_id = wanted.id offset 0
    ) one
))
