-- What providers report of messages that are not known, or not known as sent, at that moment.

create table delivery_reports (
    account_id text not null,
    reference text not null,            -- `<provider>:<its id of the message>`, or `message:<id>`
    event text not null,
    reason text,
    at_ms integer not null,
    primary key (account_id, reference, event)
) strict, without rowid;

-- serves: reports_since, old_reports
create index delivery_reports_by_age on delivery_reports (account_id, at_ms);
