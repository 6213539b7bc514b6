"""`millrace tail`: a server's log lines as they are written."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import httpx2
import msgspec

from millrace.cli.printing import counted, print_lines, shortened
from millrace.client.address import CONNECT_SECONDS, connection_settings, root_of, server_of
from millrace.client.answers import Answer
from millrace.client.refusals import refusal_of
from millrace.errors import Overloaded, ServerFailed, ServerUnreachable, StoreUnavailable, UnexpectedAnswer
from millrace.limits import FEED_KEEP_ALIVE_SECONDS

SILENT_SECONDS = 3 * FEED_KEEP_ALIVE_SECONDS  # a server that is there says so more often
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.25, 15
MEDIA_TYPE = "text/event-stream"
PASSING = (ServerUnreachable, ServerFailed, StoreUnavailable, Overloaded, UnexpectedAnswer)


class Event(NamedTuple):
    """What a stream gives: `listening` when it is open, `line`, or `dropped`."""

    name: str
    data: str = ""


def run(arguments: argparse.Namespace) -> int:
    """Print lines until Ctrl-C. A server that cannot be reached at first ends it; one that goes away is awaited."""
    url, token = server_of(os.environ, arguments.url, arguments.token)
    root = root_of(url)
    params = {"event": arguments.events, **({"correlation_id": i} if (i := arguments.correlation_id) else {})}
    timeout = httpx2.Timeout(SILENT_SECONDS, connect=CONNECT_SECONDS)
    with httpx2.Client(**connection_settings(root, token), timeout=timeout) as http:

        def listen() -> Iterator[Event]:
            return _listen(http, root, params, has_token=token is not None)

        for event in _again_and_again(listen):
            _print(event, as_json=arguments.json)
    return 0


def _again_and_again(listen: Callable[[], Iterator[Event]]) -> Iterator[Event]:
    """Give what streams give, one after the other, for ever."""
    was_there, failures = False, 0
    while True:
        try:
            for event in listen():
                if event.name == "listening" and was_there:
                    _remark("connected again; what was logged in between is not shown")
                was_there, failures = True, 0
                yield event
        except PASSING as error:
            if not was_there:
                raise
            if not failures:
                _remark(f"{error}; trying again")
        time.sleep(min(PAUSE_SECONDS * 2 ** min(failures, 10), PAUSE_SECONDS_MAX))
        failures += 1


def _listen(http: httpx2.Client, root: str, params: dict[str, Any], *, has_token: bool) -> Iterator[Event]:
    """Open one stream and give its events.

    Raises:
        ServerUnreachable: there is no server, or the stream ended.
        MillraceError: the server refuses.
    """
    try:
        with http.stream("GET", f"{root}/api/tail", params=params) as response:
            if response.status_code != 200:
                answer = Answer(response.status_code, response.headers, response.read())
                raise refusal_of(answer, root, has_token=has_token)
            if not response.headers.get("content-type", "").startswith(MEDIA_TYPE):
                raise UnexpectedAnswer(f"{root} does not answer as a Millrace server does; is the URL right?")
            yield Event("listening")
            yield from read_events(response.iter_bytes())
    except httpx2.RequestError as error:
        raise ServerUnreachable(f"{root} cannot be reached: {error or type(error).__name__}") from None
    raise ServerUnreachable(f"{root} has closed the connection")


def read_events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """Read Server-Sent Events. A line ends with a newline only: texts may have other characters that end lines."""
    name, rest = "line", b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            field, _, value = line.decode("utf-8", "replace").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield Event(name, value)
                name = "line"


def _print(event: Event, *, as_json: bool) -> None:
    match event.name:
        case "dropped":
            count = msgspec.json.decode(event.data)["count"]
            _remark(f"{counted(count, 'line')} left out: they came faster than they were read")
        case "line" if as_json:
            sys.stdout.buffer.write(event.data.encode() + b"\n")
            sys.stdout.flush()
        case "line":
            print_lines(line_for_people(msgspec.json.decode(event.data)))
            sys.stdout.flush()


def line_for_people(record: dict[str, Any]) -> str:
    """Show a log line: time, level, event, and its fields; of a traceback its last line."""
    heads = [record.pop(name, "") for name in ("timestamp", "level", "event")]
    record.pop("message", None)  # the event in other words
    fields = [f"{name}={_shown(value)}" for name, value in record.items()]
    at, level, event = (shortened(head) for head in heads)
    return "  ".join([at, f"{level:<7}", event, " ".join(fields)]).rstrip()


def _shown(value: object) -> str:
    return shortened(value.rstrip().rpartition("\n")[2] if isinstance(value, str) else value)


def _remark(sentence: str) -> None:
    print(f"millrace: {sentence}", file=sys.stderr, flush=True)
