-- name: insert_key
insert into api_keys (id, account_id, created_at_ms, secret_hash, value)
values (:id, :account_id, :created_at_ms, :secret_hash, :value)

-- name: delete_key
delete from api_keys where id = :id and account_id = :account_id returning id

-- name: key_with_hash
select id from api_keys where secret_hash = :secret_hash

-- name: keys
select secret_hash, value from api_keys order by created_at_ms, id
