"""`make bench`: the figures of the store, the consumer and the door, each as a ratio to its floor."""

import tempfile
from pathlib import Path

import uvloop

from bench import door, remote, store
from bench.table import Table


def main() -> None:
    """Measure everything and print the table."""
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(store.measure(Path(folder), table))
        door.measure(Path(folder), table)
        uvloop.run(remote.measure(Path(folder), table))
        remote.measure_import(table)


if __name__ == "__main__":
    main()
