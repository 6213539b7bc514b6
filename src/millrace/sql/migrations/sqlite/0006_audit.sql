-- Who did what; secrets.

-- An entry is written with its act; its hash follows within a second. Numbers have no gaps: one that was taken by
-- an act that was rolled back is given again, one that was committed never.
create table audit (
    number integer primary key autoincrement,
    account_id text not null,
    at_ms integer not null,
    actor text not null,
    act text not null,
    object text not null,
    details text not null, -- JSON
    correlation_id text not null,
    hash blob
) strict;

-- serves: audit_page
create index audit_of_account on audit (account_id, number);

-- serves: audit_unchained; only the entries of the last second are in it
create index audit_without_hash on audit (number) where hash is null;

-- The last entry that has its hash, so that a chain which was cut short is told from one that ends.
create table audit_head (
    one integer primary key check (one = 1),
    number integer not null,
    hash blob not null
) strict;

insert into audit_head (one, number, hash) values (1, 0, zeroblob(32));

create trigger audit_stays before delete on audit
begin
    select raise(abort, 'audit entries are not deleted');
end;

create trigger audit_keeps_its_words before update of
    number, account_id, at_ms, actor, act, object, details, correlation_id on audit
begin
    select raise(abort, 'audit entries are not changed');
end;

create trigger audit_keeps_its_hash before update of hash on audit when old.hash is not null
begin
    select raise(abort, 'audit entries are not changed');
end;

-- AES-256-GCM under the master key that key_id names.
create table secrets (
    account_id text not null,
    name text not null,
    nonce blob not null,
    ciphertext blob not null,
    key_id text not null,
    created_at_ms integer not null,
    updated_at_ms integer not null,
    primary key (account_id, name)
) strict, without rowid;
