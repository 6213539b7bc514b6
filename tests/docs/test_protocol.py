"""docs/protocol.md and docs/operating.md know every route, code, metric and log event there is."""

import re

from millrace import errors
from millrace.http.errors import INTERNAL, TABLE
from millrace.http.metrics import COUNTED
from millrace.logs import LINES
from millrace.message import Lease, Message
from tests.docs.pages import DOCS, section
from tests.support import Server

PROTOCOL = (DOCS / "protocol.md").read_text()
OPERATING = (DOCS / "operating.md").read_text()
GENERAL = (
    errors.InvalidInput,
    errors.TooLarge,
    errors.NotFound,
    errors.Conflict,
)  # classes above those that are raised


def test_every_route_is_on_the_page(server: Server) -> None:
    paths = server.call("GET", "/openapi.json").json["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}

    assert len(routes) > 30
    assert [route for route in sorted(routes) if f"`{route}`" not in PROTOCOL] == []


def test_no_route_on_the_page_is_missing_from_the_server(server: Server) -> None:
    paths = server.call("GET", "/openapi.json").json["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    named = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`", PROTOCOL))

    assert named - routes == set()


def test_every_status_and_code_is_on_the_page() -> None:
    pairs = {(reply.status, reply.code) for kind, reply in TABLE.items() if kind not in GENERAL}
    rows = section(DOCS / "protocol.md", "Answers under `/client/v4`")

    assert [pair for pair in sorted({*pairs, INTERNAL[:2]}) if f"| {pair[0]} | {pair[1]} |" not in rows] == []


def test_every_code_outside_of_cloudflares_routes_is_on_the_page() -> None:
    rows = section(DOCS / "protocol.md", "Answers elsewhere")
    refusals = (errors.QueueUnavailable, errors.Unauthenticated, errors.Forbidden, errors.NotFound, errors.TooLarge)
    others = (errors.InvalidInput, errors.Conflict, errors.MethodNotAllowed, errors.RequestTimedOut)

    assert [kind.code for kind in (*refusals, *others, errors.EncodingRefused) if f"`{kind.code}`" not in rows] == []


def test_the_opaque_strings_are_shorter_than_the_page_says() -> None:
    lease = Lease((1 << 63) - 1, (1 << 63) - 1)
    message = Message(
        id="f" * 32, lease=lease, attempts=1, failures=0, sent_at_ms=0, content_type="json", source="http", body=b"0"
    )

    assert max(len(str(lease)), len(message.ref)) <= 2048


def test_the_page_has_the_counters_that_there_are() -> None:
    others = {"millrace_jobs_total", "millrace_jobs_queued_total", "millrace_target_opened_total"}
    names = {f"millrace_{name.replace('.', '_')}_total" for name in COUNTED} | others

    assert set(re.findall(r"`(millrace_\w+_total)`", OPERATING)) == names


def test_the_page_has_the_log_events_that_there_are() -> None:
    rows = section(DOCS / "operating.md", "Logs").split("| event |")[1]

    assert set(re.findall(r"`(\w+\.\w+)`", rows)) == set(LINES)
