"""What can be typed to watch a server and to measure it: `tail`, `bench`."""

from millrace.cli.parsing import Commands, add_number, add_verb

MESSAGES, MESSAGES_MAX = 10_000, 1_000_000
CLIENTS, CLIENTS_MAX = 8, 100  # a client has 100 connections
BATCH, BATCH_MAX = 10, 100


def add_tail(commands: Commands) -> None:
    """Add `tail`."""
    tail = add_verb(commands, "tail", "tail:run", "print a server's log lines as they are written, until Ctrl-C")
    tail.add_argument(
        "--event",
        dest="events",
        metavar="NAME",
        action="append",
        default=[],
        help="only this event, such as message.buried, or all of message; may be repeated",
    )
    tail.add_argument("--correlation-id", metavar="ID", help="only lines of the request with this correlation id")


def add_bench(commands: Commands) -> None:
    """Add `bench`."""
    bench = add_verb(commands, "bench", "bench:run", "load a server with messages and print times and throughput")
    bench.add_argument(
        "--queue", metavar="NAME", help="name of the queue that is made and deleted again (millrace-bench-…)"
    )
    add_number(bench, "--messages", 1, MESSAGES_MAX, f"how many messages ({MESSAGES})", default=MESSAGES)
    add_number(bench, "--clients", 1, CLIENTS_MAX, f"how many call at the same time ({CLIENTS})", default=CLIENTS)
    add_number(bench, "--batch", 1, BATCH_MAX, f"messages in one call ({BATCH})", default=BATCH)
    add_number(bench, "--events", 1, MESSAGES_MAX, "also post so many events; they stay in event-queue")
