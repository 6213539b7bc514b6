-- name: put_secret
insert into secrets (account_id, name, nonce, ciphertext, key_id, created_at_ms, updated_at_ms)
values (:account_id, :name, :nonce, :ciphertext, :key_id, :now_ms, :now_ms)
on conflict (account_id, name) do update
set nonce = excluded.nonce,
    ciphertext = excluded.ciphertext,
    key_id = excluded.key_id,
    updated_at_ms = excluded.updated_at_ms

-- name: secret
select name, created_at_ms, updated_at_ms from secrets where account_id = :account_id and name = :name

-- name: secrets
select name, created_at_ms, updated_at_ms from secrets where account_id = :account_id order by name

-- name: sealed_secrets
select name, nonce, ciphertext, key_id from secrets where account_id = :account_id order by name

-- name: delete_secret
delete from secrets where account_id = :account_id and name = :name returning name

-- name: foreign_secret
-- One that another master key has sealed, of any account.
select account_id, name from secrets where key_id <> :key_id limit 1
