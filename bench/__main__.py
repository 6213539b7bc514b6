"""`make bench`: the figures of the store, the consumer, the door, the jobs and the messages, as ratios to a floor where there is one.

`python -m bench postgres` makes one part alone, `python -m bench cost` says what a message costs on PostgreSQL, and
`python -m bench long-run --help` is about minutes instead of seconds.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import uvloop

from bench import cost, door, features, jobs, locks, long_run, messages, postgres, remote, store
from bench.table import Table


def _remote(folder: Path, table: Table) -> None:
    uvloop.run(remote.measure(folder, table))
    remote.measure_import(table)


PARTS: dict[str, Callable[[Path, Table], None]] = {
    "store": lambda folder, table: uvloop.run(store.measure(folder, table)),
    "features": lambda folder, table: uvloop.run(features.measure(folder, table)),
    "locks": lambda folder, table: uvloop.run(locks.measure(folder, table)),
    "door": door.measure,
    "jobs": lambda folder, table: uvloop.run(jobs.measure(folder, table)),
    "messages": lambda folder, table: uvloop.run(messages.measure(folder, table)),
    "remote": _remote,
    "postgres": lambda folder, table: postgres.measure(table),
}


def main(arguments: list[str]) -> None:
    """Measure everything, or the parts that are named, and print the table."""
    if arguments[:1] == ["long-run"]:
        long_run.measure(arguments[1:])
        return
    if arguments == ["cost"]:
        cost.measure()
        return
    unknown = [name for name in arguments if name not in PARTS]
    if unknown:
        raise SystemExit(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)} cost and long-run")
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments or PARTS:
            PARTS[name](Path(folder), table)


if __name__ == "__main__":
    main(sys.argv[1:])
