-- Audit entries that are gone after their time.

-- What is left of an entry: its place in the chain, and the entry that tells of the pruning. It stays when the entry
-- is put back.
create table audit_pruned (
    number bigint primary key,
    hash bytea not null,
    noted_in bigint not null
);

-- serves: audit_pruned_in
create index audit_pruned_together on audit_pruned (noted_in, number);

create trigger audit_pruned_stays before delete or update on audit_pruned
for each row execute function refuse_audit_change();

create function refuse_audit_deletion() returns trigger language plpgsql as $$
begin
    if exists (select 1 from audit_pruned where number = old.number and hash = old.hash) then
        return old;
    end if;
    raise exception 'audit entries are not changed or deleted';
end
$$;

drop trigger audit_stays on audit;

create trigger audit_stays before delete on audit for each row execute function refuse_audit_deletion();
