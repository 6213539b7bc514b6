"""PostgreSQL: one database, any number of servers."""
