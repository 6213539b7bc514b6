"""Every route that takes a body, times every body that it cannot take."""

import http.client
import json
from urllib.parse import urlsplit

import pytest

from tests.http.wire import PULL, Wire, head, pull, push_text, request
from tests.support import KEY

V4 = "/client/v4/accounts/local"
HUGE = b'"' + b"x" * 100_000 + b'"'

# name of the route: method, path, a body that it takes, the fields that must be what they are
ROUTES = {
    "create queue": ("POST", f"{V4}/queues", {"queue_name": "new"}, {"queue_name": str}),
    "replace queue": ("PUT", f"{V4}/queues/{{q}}", {"settings": {"delivery_delay": 1}}, {"settings": dict}),
    "change queue": ("PATCH", f"{V4}/queues/{{q}}", {"queue_name": "renamed"}, {"queue_name": str}),
    "create consumer": (
        "POST",
        f"{V4}/queues/{{bare}}/consumers",
        {"type": "worker", "script_name": "s"},
        {"type": str, "script_name": str},
    ),
    "replace consumer": ("PUT", f"{V4}/queues/{{q}}/consumers/{{c}}", {"type": "http_pull"}, {"type": str}),
    "push": ("POST", f"{V4}/queues/{{q}}/messages", {"content_type": "text", "body": "x"}, {"body": str}),
    "push batch": ("POST", f"{V4}/queues/{{q}}/messages/batch", {"messages": [{"body": 1}]}, {"messages": list}),
    "pull": ("POST", f"{V4}/queues/{{q}}/messages/pull", {"batch_size": 1}, {"batch_size": int}),
    "ack": ("POST", f"{V4}/queues/{{q}}/messages/ack", {"acks": [{"lease_id": "{lease}"}]}, {"acks": list}),
    "extend": (
        "POST",
        f"{V4}/queues/{{q}}/messages/extend",
        {"lease_ids": ["{lease}"], "visibility_timeout_ms": 1},
        {"lease_ids": list, "visibility_timeout_ms": int},
    ),
    "peek": ("POST", f"{V4}/queues/{{q}}/messages/peek", {"batch_size": 1}, {"batch_size": int}),
    "purge refs": ("POST", f"{V4}/queues/{{q}}/messages/purge", {"refs": [{"ref": "x"}]}, {"refs": list}),
    "purge queue": (
        "POST",
        f"{V4}/queues/{{q}}/purge",
        {"delete_messages_permanently": True},
        {"delete_messages_permanently": bool},
    ),
    "create subscription": (
        "POST",
        f"{V4}/event_subscriptions/subscriptions",
        {
            "name": "n",
            "source": {"type": "kv"},
            "destination": {"type": "queues.queue", "queue_id": "{q}"},
            "events": ["e"],
        },
        {"name": str, "source": dict, "destination": dict, "events": list},
    ),
    "change subscription": (
        "PATCH",
        f"{V4}/event_subscriptions/subscriptions/{{s}}",
        {"name": "m"},
        {"name": str},
    ),
    "create key": ("POST", "/api/keys", {"role": "producer"}, {"role": str}),
    "event": ("POST", "/events", {"payload": {"a": 1}}, {"payload": dict}),
}

NOT_JSON = {
    "truncated": lambda good: good[:-1],
    "truncated early": lambda good: good[:3],
    "with a tail": lambda good: good + b"}",
    "two values": lambda good: good + good,
    "nothing but space": lambda good: b"  ",
    "a word": lambda good: b"nonsense",
    "single quotes": lambda good: good.replace(b'"', b"'"),
    "a comment": lambda good: b"/* */" + good,
    "a trailing comma": lambda good: good[:-1] + b",}",
    "a byte order mark": lambda good: b"\xef\xbb\xbf" + good,
    "UTF-16": lambda good: good.decode().encode("utf-16"),
    "NaN": lambda good: good[:-1] + b',"extra":NaN}',
    "Infinity": lambda good: good[:-1] + b',"extra":-Infinity}',
    "a lone surrogate": lambda good: good[:-1] + b',"extra":"\\ud800"}',
    "a lone surrogate in a key": lambda good: good[:-1] + b',"\\udc00":1}',
    "invalid UTF-8": lambda good: good[:-1] + b',"extra":"\xff\xfe"}',
    "invalid UTF-8 in a key": lambda good: good[:-1] + b',"\xff":1}',
    "an overlong slash": lambda good: good[:-1] + b',"extra":"\xc0\xaf"}',
    "an encoded surrogate": lambda good: good[:-1] + b',"extra":"\xed\xa0\x80"}',
    "a control character": lambda good: good[:-1] + b',"extra":"\n"}',
    "deep arrays": lambda good: good[:-1] + b',"extra":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "deep objects": lambda good: good[:-1] + b',"extra":' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
    "a NUL byte": lambda good: good[:-1] + b"\x00}",
    "an octal number": lambda good: good[:-1] + b',"extra":010}',
}
OTHER_VALUES = [
    b"null",
    b"true",
    b"5",
    b"-1",
    b"1.5",
    b"1e400",
    b"-1e400",
    b"9" * 5000,
    b"9" * 30,
    b'"x"',
    b'""',
    b'"\\u0000"',
    b'"\\ud800"',
    b'"\xff"',
    HUGE,
    b"[]",
    b"[null]",
    b"[5]",
    b'["x"]',
    b"[[]]",
    b"[{}]",
    b"{}",
    b'{"\\ud800":1}',
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
]
NO_OBJECTS = [b"[]", b"[{}]", b'"x"', b"5", b"true", b"1e400", b"9" * 5000, HUGE, b"null"]
NAMES = ["x" * 300_000, "a\x00b", "\x00", "ﬀ", "a\u2028b", "../etc", "a%00b", "a\r\nb", "\u202eabc"]
SEGMENTS = [
    "%00",
    "%2F",
    "%ff",
    "..",
    ".",
    "%2e%2e",
    "x" * 4000,
    "%F0%9F%8E%88",
    "%",
    "%zz",
    "%0d%0aX:%20y",
    "'",
    "*",
    "~",
]


class World:
    """A server with one queue of each kind, and a connection that must outlast every bad request."""

    def __init__(self, server):
        self.server = server
        self.queue = server.create_queue("world", consumer=PULL)
        self.bare = server.create_queue("bare")
        push_text(server, self.queue, "one", "two")
        destination = {"type": "queues.queue", "queue_id": self.queue}
        body = {"name": "n", "source": {"type": "kv"}, "events": [], "destination": destination}
        self.names = {
            "q": self.queue,
            "bare": self.bare,
            "c": server.v4("GET", f"/queues/{self.queue}/consumers").result[0]["consumer_id"],
            "s": server.v4("POST", "/event_subscriptions/subscriptions", body).result["id"],
            "lease": pull(server, self.queue, 1, lease_ms=43_200_000)[0]["lease_id"],
        }
        self.connect()
        self.known = self.state()

    def connect(self):
        place = urlsplit(self.server.url)
        self.connection = http.client.HTTPConnection(place.hostname, place.port, timeout=15)
        self.connection.connect()
        self.socket = self.connection.sock

    def route(self, name):
        """Give method, path, a body that would be taken, and its fields."""
        method, path, good, fields = ROUTES[name]
        text = json.dumps(good)
        for key, value in self.names.items():
            path, text = path.replace(f"{{{key}}}", value), text.replace(f"{{{key}}}", value)
        return method, path, text.encode(), fields

    def ask(self, method, path, body=None):
        self.connection.request(method, path, body, {"Authorization": f"Bearer {KEY}"})
        answer = self.connection.getresponse()
        text = answer.read()
        is_open = self.connection.sock is self.socket
        if not is_open:
            self.connect()
        is_fair = is_open or answer.headers["connection"] == "close"  # a refusal may leave a body unread, and say so
        return is_fair, answer.status, json.loads(text)

    def refusal_problems(self, method, path, body=None):
        """Give what is wrong with the refusal of a request that nobody can serve."""
        is_fair, status, answer = self.ask(method, path, body)
        what = (method, path[:80], (body or b"")[:80], status, str(answer)[:200])
        if not 400 <= status < 500:
            return [("not refused", *what)]
        problems = [] if is_fair else [("closed", *what)]
        return problems if is_envelope(path, answer) else [*problems, ("not the envelope", *what)]

    def changes(self):
        """Say what has changed since this was last asked."""
        before, self.known = self.known, self.state()
        return [new for new in self.known if new not in before]

    def state(self):
        _, _, queues = self.ask("GET", f"{V4}/queues?per_page=1000")
        paths = [f"{V4}/queues/{queue['queue_id']}/metrics" for queue in queues["result"]]
        paths += [f"{V4}/event_subscriptions/subscriptions?per_page=1000", "/api/keys"]
        return [queues["result"], *(self.ask("GET", path)[2] for path in paths)]


def is_envelope(path, answer):
    if not path.startswith("/client/v4"):
        return set(answer) == {"error"} and set(answer["error"]) == {"code", "message", "timestamp", "correlation_id"}
    failed = answer["success"] is False and answer["result"] is None and answer["messages"] == []
    return failed and type(answer["errors"][0]["code"]) is int and bool(answer["errors"][0]["message"])


@pytest.fixture(scope="module")
def world(server):
    return World(server)


@pytest.mark.parametrize("kind", NOT_JSON)
def test_a_body_that_is_not_json_in_utf_8_is_refused_and_changes_nothing(world, kind):
    problems = []
    for name in ROUTES:
        method, path, good, _ = world.route(name)
        problems += world.refusal_problems(method, path, NOT_JSON[kind](good))

    assert (problems, world.changes()) == ([], [])


@pytest.mark.parametrize("value", NO_OBJECTS)
def test_a_body_that_is_no_object_is_refused_and_changes_nothing(world, value):
    problems = []
    for name in ROUTES:
        method, path, _, _ = world.route(name)
        problems += world.refusal_problems(method, path, value)

    assert (problems, world.changes()) == ([], [])


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, route in ROUTES.items() for field in route[3]])
def test_a_field_of_the_wrong_type_is_refused_and_changes_nothing(world, name, field):
    method, path, good, fields = world.route(name)
    others = {key: given for key, given in json.loads(good).items() if key != field}
    begin = json.dumps(others).encode()[:-1] + (b"," if others else b"") + f'"{field}":'.encode()

    problems = []
    for value in OTHER_VALUES:
        if not _may_be(fields[field], value, name, field):
            problems += world.refusal_problems(method, path, begin + value + b"}")

    assert (problems, world.changes()) == ([], [])


ACCEPTED = {
    ("create queue", "queue_name", b'"x"'),
    ("change queue", "queue_name", b'"x"'),
    ("purge queue", "delete_messages_permanently", b"true"),
}


def _may_be(kind, value, name, field):
    """Say whether a value is one that the field may have, so that a route may take it."""
    if value == b"null":
        return field not in ("queue_name", "type", "body", "messages", "lease_ids", "refs", "payload", "role") or (
            name == "change queue"
        )
    try:
        decoded = json.loads(value)
    except (ValueError, RecursionError):
        return False
    if (name, field, value) in ACCEPTED:
        return True
    if value in (b'"\\ud800"', b'{"\\ud800":1}') or value.count(b"{") > 1000:
        return False
    if name in ("create subscription", "change subscription") and field in ("name", "source", "events"):
        return type(decoded) is kind and value not in (b"[null]", b"[5]", b"[[]]", b"[{}]")
    free_text = {("push", "body"), ("create consumer", "script_name")}
    if (name, field) in free_text:
        return isinstance(decoded, str) and not (value == b'""' and field == "script_name")
    empty_is_fine = {("ack", "acks"), ("purge refs", "refs"), ("extend", "lease_ids"), ("event", "payload")}
    if (name, field) in empty_is_fine and value in (b"[]", b"{}"):
        return True
    if (name, field) == ("extend", "lease_ids"):
        return value == b'["x"]'
    if (name, field) == ("replace queue", "settings"):
        return value == b"{}"
    return kind is int and value == b"5"


def test_the_last_of_duplicate_keys_counts(world):
    push_text(world.server, world.bare, "one", "two", "three")
    path = f"{V4}/queues/{world.bare}/messages/peek"

    _, status, answer = world.ask("POST", path, b'{"batch_size":1,"batch_size":2}')
    world.changes()

    assert (status, len(answer["result"]["messages"])) == (200, 2)


@pytest.mark.parametrize("text", NAMES)
@pytest.mark.parametrize("name", ["create queue", "change queue"])
def test_long_and_strange_names_are_refused_and_change_nothing(world, name, text):
    method, path, _, _ = world.route(name)

    _, status, answer = world.ask(method, path, json.dumps({"queue_name": text}))

    assert (status, answer["errors"][0]["code"]) == (400, 11003)
    assert len(answer["errors"][0]["message"]) < 1000
    assert world.changes() == []


@pytest.mark.parametrize("segment", SEGMENTS)
def test_strange_path_segments_are_not_found_and_change_nothing(world, segment):
    places = {
        f"{V4}/queues/{segment}": ("GET", "PUT", "PATCH", "DELETE"),
        f"{V4}/queues/{segment}/messages/pull": ("POST",),
        f"{V4}/queues/{world.queue}/consumers/{segment}": ("GET", "DELETE"),
        f"{V4}/queues/{world.queue}/{segment}": ("GET", "POST"),
        f"{V4}/event_subscriptions/subscriptions/{segment}": ("GET", "PATCH", "DELETE"),
        f"/client/v4/accounts/{segment}/queues": ("GET", "POST"),
        f"/api/keys/{segment}": ("DELETE",),
        f"/{segment}": ("GET", "POST"),
    }

    problems = []
    for path, methods in places.items():
        for method in methods:
            body = b"{}" if method in ("POST", "PUT", "PATCH") else None
            problems += world.refusal_problems(method, path, body)

    assert (problems, world.changes()) == ([], [])


@pytest.mark.parametrize("number", ["%00", "%ff", "9" * 5000, "%D9%A1", "1e3", "+1", "0x1", "1_0"])
def test_strange_numbers_in_a_query_are_refused(world, number):
    paths = (f"{V4}/queues", f"{V4}/event_subscriptions/subscriptions", "/client/v4/accounts", "/client/v4/memberships")

    assert [problem for path in paths for problem in world.refusal_problems("GET", f"{path}?page={number}")] == []


@pytest.mark.parametrize(
    "query", ["name=%00", "name=%ff", "name", "&&&", "=", "%", "name=" + "x" * 30000, "a[]=1", "?"]
)
def test_strange_queries_are_answered(world, query):
    _, status, answer = world.ask("GET", f"{V4}/queues?{query}")

    assert status == 200
    assert answer["success"] is True


def test_a_path_with_bytes_beyond_ascii_is_refused_in_the_envelope(server):
    with Wire(server) as wire:
        wire.send(head("GET", f"{V4}/queues/\xe9\xff"))

        status, headers, body = wire.answer()

    assert 400 <= status < 500
    assert headers["content-type"] == "application/json"
    assert type(json.loads(body)["errors"][0]["code"]) is int


def test_after_all_this_the_server_still_works(world):
    queue = world.server.create_queue("afterwards", consumer=PULL)
    push_text(world.server, queue, "good")

    assert [message["body"] for message in pull(world.server, queue)] == ["good"]
    assert "request.failed" not in world.server.text
    with Wire(world.server) as wire:
        wire.send(request("GET", f"{V4}/queues"))
        assert wire.answer()[0] == 200
