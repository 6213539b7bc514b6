-- Cron triggers and workflows.
select 1;
