-- name: expire_idempotency_keys
delete from idempotency
where number in (
    select number
    from (select number, created_at_ms from idempotency order by number limit :limit) oldest
    where created_at_ms <= :expired_before_ms
)
returning number
