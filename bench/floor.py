"""The floor: the same rows straight into SQLite, with the same durability and nothing else."""

from pathlib import Path
from time import perf_counter

import apsw

from millrace.ids import new_id
from millrace.sql.sqlite.connection import connect

BODY = b"x" * 200
TABLE = """create table rows (
    key integer primary key, lane integer, visible_at_ms integer, kept_since_ms integer, sent_at_ms integer,
    id text, content_type text, source text, headers text, body blob
) strict"""
INSERT = "insert into rows values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def raw_inserts_per_second(folder: Path, rows: int, per_transaction: int) -> float:
    """Insert rows of 200-byte bodies, so many a transaction (WAL, FULL), and give rows a second."""
    path = folder / "floor.db"
    for file in folder.glob("floor.db*"):
        file.unlink()
    connection: apsw.Connection = connect(str(path))
    connection.execute(TABLE)
    began = perf_counter()
    for first in range(0, rows, per_transaction):
        connection.execute("begin immediate")
        made = [(first + n, 1, 0, 0, 0, new_id(), "json", "http", None, BODY) for n in range(per_transaction)]
        connection.executemany(INSERT, made)
        connection.execute("commit")
    rate = rows / (perf_counter() - began)
    connection.close()
    return rate
