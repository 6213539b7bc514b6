-- Locks, claims, states and what else applications share beyond messages.
select 1;
