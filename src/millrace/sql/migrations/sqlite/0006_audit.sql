-- Who did what; secrets.
select 1;
