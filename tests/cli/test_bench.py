"""`millrace bench` and `millrace tail`."""

import json
import os
import shlex
import threading
from contextlib import contextmanager
from queue import SimpleQueue
from subprocess import STDOUT

import pytest

from millrace.cli.bench import figures_of
from millrace.cli.tail import Event, line_for_people, read_events
from tests.cli.commands import run
from tests.docs.pages import DOCS, blocks
from tests.http.wire import a_name, eventually, queue_named
from tests.starting import COMMAND, start
from tests.support import KEY, Server

HOWTO = DOCS / "howto"
SECONDS = 20
WANTED = "01234567-89ab-4def-8123-456789abcdef"


@contextmanager
def tailing(server, *flags):
    """Run `millrace tail` and give the lines that it prints, as they come."""
    command = [*COMMAND, "tail", "--url", server.url, "--token", KEY, *flags]
    tail = start(command, env=os.environ, stderr=STDOUT)
    lines: SimpleQueue[str] = SimpleQueue()
    reader = threading.Thread(target=lambda: [lines.put(line.decode()) for line in tail.stdout])
    reader.start()
    try:
        yield lines
    finally:
        tail.kill()
        tail.wait(SECONDS)
        reader.join(SECONDS)


def line_of_an_event(server, lines):
    """Post events until one of them is printed: who has just started may not listen yet."""

    def post():
        server.call("POST", "/events", {"payload": {}}, headers={"X-Correlation-ID": WANTED})
        return not lines.empty()

    assert eventually(post, SECONDS)
    return lines.get()


def test_the_load_is_told_by_phase_and_leaves_no_queue(server):
    flags = ("--messages", "60", "--batch", "7", "--clients", "3", "--events", "5")
    report = run("bench", *flags, "--json", server=server).json

    phases = {phase["phase"]: phase for phase in report["phases"]}
    assert {name: phase["messages"] for name, phase in phases.items()} == {"send": 60, "receive + ack": 60, "events": 5}
    assert phases["send"]["calls"] == 9
    assert all(0 < phase["p50_ms"] <= phase["p95_ms"] <= phase["p99_ms"] for phase in phases.values())
    assert report["queue"].startswith("millrace-bench-")
    assert queue_named(server, report["queue"]) is None


def test_the_figures_are_printed_as_a_table(server):
    heads, send, take = run("bench", "--messages", "20", server=server).out.splitlines()

    assert heads == "phase          messages  a second  calls  p50 ms  p95 ms  p99 ms"
    assert send.split()[:2] == ["send", "20"]
    assert take.split()[:4] == ["receive", "+", "ack", "20"]


def test_a_queue_that_is_there_is_not_touched(server):
    name = a_name()
    server.create_queue(name)

    refused = run("bench", "--queue", name, server=server)

    assert refused.code == 1
    assert queue_named(server, name) is not None


@pytest.mark.parametrize("command", ["bench", "tail"])
def test_a_server_that_is_not_there_or_refuses_is_told_by_the_exit_code(server, command):
    assert run(command, "--url", "http://127.0.0.1:9").code == 4
    assert run(command, "--token", "sk_live_unknown", server=server).code == 3


@pytest.mark.parametrize("flags", [("--batch", "101"), ("--clients", "0"), ("--messages", "1000001")])
def test_what_is_out_of_bounds_is_refused(flags):
    assert run("bench", *flags).code == 2


def test_percentiles_are_those_of_the_sorted_times():
    figures = figures_of("send", 1_000, 2.0, [float(ms) for ms in range(100, 0, -1)])

    assert (figures.p50_ms, figures.p95_ms, figures.p99_ms) == (50, 95, 99)
    assert (figures.calls, figures.messages_per_second) == (100, 500)


def test_a_tail_prints_lines_as_they_are_in_the_log(server):
    with tailing(server, "--json", "--event", "event.queued", "--correlation-id", WANTED) as lines:
        line = json.loads(line_of_an_event(server, lines))

    assert (line["event"], line["correlation_id"]) == ("event.queued", WANTED)


def test_a_tail_goes_on_when_the_server_is_back(tmp_path):
    with Server(tmp_path / "data", "--config", "").start() as server:
        port = server.url.rpartition(":")[2]
        with tailing(server, "--event", "event") as lines:
            first = line_of_an_event(server, lines)
            server.stop()
            told = eventually(lambda: lines.get(timeout=SECONDS).startswith("millrace: ") or None, SECONDS)
            with Server(tmp_path / "data", "--config", "", "--port", port).start() as again:
                second = line_of_an_event(again, lines)

    assert told
    assert "  event.queued  " in first
    assert "connected again" in second


def test_the_first_commands_of_the_pages_work(server):
    measure, watch = (
        shlex.split(next(iter(blocks(HOWTO / page, "bash"))).text)[1:] for page in ("bench.md", "tail.md")
    )

    measured = run(*measure, server=server)
    with tailing(server, *watch[1:]) as lines:
        watched = line_of_an_event(server, lines)

    assert measured.out.splitlines()[1].startswith("send           1,000 ")
    assert "  event.queued  event_id=" in watched


def test_a_line_for_people_has_its_fields_and_the_end_of_a_traceback():
    record = {"timestamp": "2025-11-10T12:34:56.789Z", "level": "error", "message": "Handler failed"}
    shown = line_for_people(
        {**record, "event": "handler.failed", "queue": "orders", "error": "Traceback\n  …\nValueError: \x1b[31mred\n"}
    )

    assert shown == ("2025-11-10T12:34:56.789Z  error    handler.failed  queue=orders error=ValueError: \\x1b[31mred")


def test_events_are_read_whatever_pieces_they_come_in():
    stream = b': listening\n\ndata: {"a":"\xe2\x80\xa8"}\n\nevent: dropped\ndata: {"count":2}\n\ndata: 3\n\n'
    pieces = [stream[at : at + 3] for at in range(0, len(stream), 3)]

    assert list(read_events(pieces)) == [
        Event("line", '{"a":"\u2028"}'),
        Event("dropped", '{"count":2}'),
        Event("line", "3"),
    ]
