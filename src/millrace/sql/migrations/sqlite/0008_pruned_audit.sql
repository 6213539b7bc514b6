-- Audit entries that are gone after their time.

-- What is left of an entry: its place in the chain, and the entry that tells of the pruning. It stays when the entry
-- is put back.
create table audit_pruned (
    number integer primary key,
    hash blob not null,
    noted_in integer not null
) strict;

-- serves: audit_pruned_in
create index audit_pruned_together on audit_pruned (noted_in, number);

create trigger audit_pruned_stays before delete on audit_pruned
begin
    select raise(abort, 'audit entries are not deleted');
end;

create trigger audit_pruned_keeps_its_words before update on audit_pruned
begin
    select raise(abort, 'audit entries are not changed');
end;

drop trigger audit_stays;

create trigger audit_stays before delete on audit
when not exists (select 1 from audit_pruned where number = old.number and hash = old.hash)
begin
    select raise(abort, 'audit entries are not deleted');
end;
