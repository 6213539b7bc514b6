"""Parts of the dashboard that decide by the clock or by numbers alone."""

import re

import pytest

from millrace.access.keys import Key
from millrace.access.scopes import Role, Scope
from millrace.dashboard.figures import age, number, size
from millrace.dashboard.pages import Page, check_names, in_words
from millrace.dashboard.sessions import COOKIE, GUEST, SESSION_SECONDS, SESSIONS, Sessions
from millrace.dashboard.tries import ADDRESSES, FORGOTTEN_MS, FREE_TRIES, WAIT_MS_MAX, Tries
from millrace.dashboard.turn import root_of
from millrace.dashboard.visits import Visit
from millrace.errors import ConfigurationError
from millrace.http.routes import Caller
from millrace.testing.clock import ManualClock

KEY = Key(id="k1", account_id="local", role=Role.ADMIN, created_at_ms=0, hint="")


class HeldKeys:
    """Keys that are all good; there is no store behind them."""

    def holds(self, key: Key) -> bool:
        return True


def header(cookie: str) -> bytes:
    return f"other=1; {COOKIE}={cookie}; last=2".encode()


def test_a_session_ends_after_twelve_hours():
    clock = ManualClock()
    sessions = Sessions(HeldKeys(), clock)
    cookie = sessions.open(KEY)

    clock.advance(SESSION_SECONDS - 1)
    before = sessions.find(header(cookie))
    clock.advance(1)

    assert (before.id, SESSION_SECONDS) == ("k1", 43_200)
    assert sessions.find(header(cookie)) is None


def test_one_session_too_many_ends_the_oldest():
    sessions = Sessions(HeldKeys(), ManualClock())
    first, *_, last = [sessions.open(KEY) for _ in range(SESSIONS + 1)]

    assert sessions.find(header(first)) is None
    assert sessions.find(header(last)) is not None


@pytest.mark.parametrize("cookie", [b"", b"=", b";;", b"millrace-session", b"millrace-session=\xff", b"a" * 10_000])
def test_a_cookie_that_names_no_session_makes_a_guest(cookie):
    sessions = Sessions(HeldKeys(), ManualClock())
    sessions.open(KEY)

    assert sessions.admit(Caller("GET", "/dashboard", b"", None, cookie)) is GUEST


def test_a_key_in_the_header_is_left_to_the_keys():
    sessions = Sessions(HeldKeys(), ManualClock())

    assert sessions.admit(Caller("GET", "/dashboard", b"", b"sk_live_any", header(sessions.open(KEY)))) is None


def test_each_further_failure_doubles_the_wait_up_to_half_a_minute():
    tries = Tries()
    waits = []
    for _ in range(FREE_TRIES + 7):
        tries.note_failure("192.0.2.1", 1_000)
        waits.append(tries.wait_ms("192.0.2.1", 1_000))

    assert waits == [0, 0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, WAIT_MS_MAX, WAIT_MS_MAX, WAIT_MS_MAX]
    assert tries.wait_ms("192.0.2.1", 1_000 + WAIT_MS_MAX) == 0
    assert tries.wait_ms("192.0.2.2", 1_000) == 0


def test_failures_are_forgotten_after_an_hour_and_after_a_log_in():
    tries = Tries()
    for address in ("192.0.2.1", "192.0.2.2"):
        for _ in range(9):
            tries.note_failure(address, 0)

    tries.forget("192.0.2.2")
    tries.note_failure("192.0.2.1", FORGOTTEN_MS)

    assert tries.wait_ms("192.0.2.1", FORGOTTEN_MS) == 0
    assert tries.wait_ms("192.0.2.2", 0) == 0


def test_the_addresses_of_one_ipv6_network_count_as_one():
    tries = Tries()
    for number_ in range(FREE_TRIES):
        tries.note_failure(f"2001:db8::{number_}", 0)

    assert tries.wait_ms("2001:db8::ffff:1", 0) > 0
    assert tries.wait_ms("2001:db8:0:1::1", 0) == 0


def test_not_more_than_ten_thousand_addresses_are_kept():
    tries = Tries()
    for address in ["first", *(f"a{index}" for index in range(ADDRESSES))]:
        tries.note_failure(address, 0)

    assert len(tries._failures) == ADDRESSES
    assert "first" not in tries._failures


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/dashboard", "dashboard"),
        ("/dashboard/", "../dashboard"),
        ("/dashboard/audit", "../dashboard"),
        ("/dashboard/queues/orders", "../../dashboard"),
        ("/dashboard/queues/orders/purge", "../../../dashboard"),
    ],
)
def test_addresses_are_relative_so_that_a_proxy_may_put_anything_before_them(path, root):
    assert root_of(path) == root


@pytest.mark.parametrize(
    ("visit", "is_local"),
    [
        (Visit(address="127.0.0.1", host="localhost:8787", site="none"), True),
        (Visit(address="::1", host="[::1]:8787", site="same-origin"), True),
        (Visit(address="127.0.0.1", host="evil.example:8787", site="none"), False),
        (Visit(address="127.0.0.1", host="localhost:8787", site="cross-site"), False),
        (Visit(address="192.0.2.1", host="localhost:8787", site="none"), False),
        (Visit(), False),
    ],
)
def test_a_person_at_this_machine_is_told_from_web_pages_and_other_machines(visit, is_local):
    assert visit.is_local is is_local


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0 s"), (59_999, "59 s"), (60_000, "1 min"), (12_300_000, "3 h 25 min"), (90_000_000, "1 d 1 h"), (-5, "0 s")],
)
def test_an_age_is_told_by_its_two_largest_units(milliseconds, text):
    assert age(milliseconds) == text


def test_sizes_and_numbers_are_short():
    assert [size(count) for count in (0, 999, 1_000, 1_234_567, 10**16)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.2 MB",
        "10000.0 TB",
    ]
    assert number(1_234_567) == "1\u202f234\u202f567"


def page(name="letters", **more):
    return Page(**{"name": name, "title": "Letters", "scope": Scope.SEND, "shows": {}, **more})


def key(role, **more):
    return Key(id="k2", account_id="local", role=role, created_at_ms=0, hint="", **more)


@pytest.mark.parametrize(
    ("page", "key", "is_for"),
    [
        (page(), key(Role.PRODUCER), True),
        (page(), key(Role.CONSUMER), False),
        (page(), key(Role.PRODUCER, tenant="acme"), False),
        (page(), key(Role.PRODUCER, queues=("post",)), True),
        (page(queue="post"), key(Role.PRODUCER, queues=("post",)), True),
        (page(queue="post"), key(Role.PRODUCER, queues=("other",)), False),
        (page(queue="post"), key(Role.PRODUCER), True),
        (page(needs_all_queues=True), key(Role.PRODUCER, queues=("post",)), False),
        (page(needs_all_queues=True), key(Role.PRODUCER), True),
        (page(), GUEST, False),
    ],
)
def test_a_page_is_for_keys_that_have_its_scope_and_reach_what_it_shows(page, key, is_for):
    assert page.is_for(key) is is_for


@pytest.mark.parametrize("name", ["", "a/b", "..", "login", "static", "Letters", "letters"])
def test_pages_with_a_name_that_is_none_or_taken_are_refused(name):
    with pytest.raises(ConfigurationError, match=re.escape(repr(name))):
        check_names([page(), page(name)])


def test_roles_are_told_as_in_a_sentence():
    assert in_words(["admin"], "or") == "admin"
    assert in_words(["admin", "operator", "producer"], "or") == "admin, operator or producer"
