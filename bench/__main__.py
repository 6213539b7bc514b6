"""`make bench`: the figures of the store, the consumer, the door and the jobs, as ratios to a floor where there is one."""

import tempfile
from pathlib import Path

import uvloop

from bench import door, features, jobs, locks, remote, store
from bench.table import Table


def main() -> None:
    """Measure everything and print the table."""
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(store.measure(Path(folder), table))
        uvloop.run(features.measure(Path(folder), table))
        uvloop.run(locks.measure(Path(folder), table))
        door.measure(Path(folder), table)
        uvloop.run(jobs.measure(Path(folder), table))
        uvloop.run(remote.measure(Path(folder), table))
        remote.measure_import(table)


if __name__ == "__main__":
    main()
