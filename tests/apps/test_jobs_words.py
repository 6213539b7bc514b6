"""What the jobs application decides without a server: names, signatures, who comes in."""

import hmac
from pathlib import Path

import jwt
import pytest

from millrace.access.scopes import Role
from millrace.apps.jobs.app import JobsSettings, app
from millrace.apps.jobs.filenames import NAME_BYTES, object_key, safe_name
from millrace.apps.jobs.signing import Ticket, is_signed, path_of
from millrace.apps.jobs.tokens import key_of, make_admit
from millrace.cli.applications import _bucket
from millrace.config import Settings, read_settings
from millrace.errors import ConfigurationError
from millrace.http.routes import Caller
from millrace.platform import Platform
from millrace.resources.objects.contract import check_key
from millrace.resources.objects.files import FileObjects
from millrace.resources.outbound import Outbound

SECRET = "s" * 40
TICKET = Ticket("local", "run-1", "application/pdf", 1000, 1_700_000_000_000, b"k" * 32)


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("Jahresbericht für Grün 2026.pdf", "Jahresbericht für Grün 2026.pdf"),
        ("../../x", "x"),
        ("..\\..\\x.txt", "x.txt"),
        ("/etc/passwd", "passwd"),
        ("C:\\temp\\a.pdf", "a.pdf"),
        ("..", "file"),
        ("", "file"),
        (".", "file"),
        (" .hidden. ", "hidden"),
        ("a..b...pdf", "a.b.pdf"),
        ("nul\0byte\n.txt", "nul_byte_.txt"),
        ("a?b#c%2e%2e.txt", "a_b_c_2e_2e.txt"),
        ("\u202egnp.exe", "_gnp.exe"),
        ("e\u0301.txt", "\u00e9.txt"),
        ("日本語.md", "日本語.md"),
        ("\ud800.txt", "_.txt"),
    ],
)
def test_a_file_name_is_made_safe(given, safe):
    """S2-21."""
    assert safe_name(given) == safe
    assert check_key(object_key("acme", "run-1", given)) == f"uploads/acme/run-1/{safe}"


@pytest.mark.parametrize(
    "name", ["x" * 1000 + ".pdf", "é" * 500 + ".markdown", "." + "y" * 600, "z" * 90 + "." + "e" * 90]
)
def test_a_long_name_is_cut_and_keeps_its_ending(name):
    """S2-21."""
    safe = safe_name(name)

    assert len(safe.encode()) <= NAME_BYTES
    assert len(safe.encode()) > NAME_BYTES - 4
    assert not name.endswith((".pdf", ".markdown")) or safe.endswith(name[name.rindex(".") :])


@pytest.mark.parametrize("tenant", ["../..", "a/b", "..", "\\", " "])
def test_a_tenant_cannot_leave_its_prefix(tenant):
    """S2-21."""
    key = check_key(object_key(tenant, "run-1", "a.pdf"))

    assert key.startswith("uploads/")
    assert key.endswith("/run-1/a.pdf")
    assert key.count("/") == 3


def test_a_signature_holds_for_exactly_what_it_was_made_for():
    """S2-19."""
    expires, signature = (pair.split("=")[1] for pair in path_of(TICKET).split("?")[1].split("&"))
    changes = [
        TICKET._replace(account_id="other"),
        TICKET._replace(run_id="run-2"),
        TICKET._replace(content_type="text/html"),
        TICKET._replace(max_bytes=1001),
        TICKET._replace(expires_at_ms=TICKET.expires_at_ms + 1000),
        TICKET._replace(secret=b"x" * 32),
    ]

    assert is_signed(TICKET, "PUT", expires, signature)
    assert not is_signed(TICKET, "GET", expires, signature)
    assert not is_signed(TICKET, "PUT", str(int(expires) + 1), signature)
    assert not is_signed(TICKET, "PUT", expires, "é" + signature[1:])
    assert not any(is_signed(changed, "PUT", expires, signature) for changed in changes)


def test_the_secret_is_compared_in_constant_time(monkeypatch):
    """S2-11."""
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: compared.append((one, other)) or one == other)

    key = key_of(SECRET.encode(), SECRET.encode(), "local", 0)

    assert (key.role, key.tenant, key.account_id) == (Role.AGENT, None, "local")
    assert compared == [(SECRET.encode(), SECRET.encode())]


def test_a_token_ends_by_our_own_clock():
    """X12."""
    token = jwt.encode({"role": "producer", "tenant": "acme", "exp": 100}, SECRET).encode()

    assert key_of(token, SECRET.encode(), "local", 99_999).tenant == "acme"
    assert key_of(token, SECRET.encode(), "local", 100_000) is None


def _caller(method, path, query=b"", bearer=None):
    return Caller(method, path, query, bearer)


def test_nobody_comes_in_without_a_bearer_but_with_a_signed_url():
    """S2-54, X07."""
    admit = make_admit("local", lambda: 0, jwt_secret=SECRET, has_turnstile=False)

    assert admit(_caller("PUT", "/uploads/run-1/content", b"signature=x")).role is Role.PRODUCER
    for caller in (
        _caller("PUT", "/uploads/run-1/content"),
        _caller("PUT", "/uploads/run-1/content", b"xsignature=x&other=signature="),
        _caller("GET", "/uploads/run-1/content", b"signature=x"),
        _caller("PUT", "/uploads/run-1/content/more", b"signature=x"),
        _caller("POST", "/jobs/enqueue", b"signature=x"),
        _caller("POST", "/uploads/create"),
        _caller("POST", "/uploads/create", b"", b"wrong"),
    ):
        assert admit(caller) is None


def test_turnstile_lets_callers_without_a_key_create_uploads_and_nothing_else():
    """S2-22, S2-54."""
    admit = make_admit("local", lambda: 0, jwt_secret=None, has_turnstile=True)

    assert admit(_caller("POST", "/uploads/create")).role is Role.PRODUCER
    for method, path in (("POST", "/runs"), ("GET", "/uploads/create"), ("POST", "/uploads/create/x")):
        assert admit(_caller(method, path)) is None
    assert admit(_caller("POST", "/uploads/create", b"", b"wrong")) is None


def test_every_route_of_the_application_asks_for_a_key_and_a_scope():
    """S2-13: new ones included."""
    settings = JobsSettings(account_id="local", jwt_secret=SECRET)
    platform = Platform(None, None, None, None, lambda: 0, Outbound())

    made = app(platform, settings, FileObjects(Path("nowhere")))

    assert {route.path.split("/")[1] for route in (*made.routes, *made.sockets)} == set(made.admissions)
    assert all(route.scope is not None for route in (*made.routes, *made.sockets))
    assert not any(route.is_open for route in made.routes)


def test_an_empty_secret_is_none():
    """X12."""
    settings = read_settings({"JWT_SECRET": "  ", "TURNSTILE_SECRET": ""}, {})

    assert (settings.jwt_secret, settings.turnstile_secret) == (None, None)
    assert make_admit("local", lambda: 0, jwt_secret=None, has_turnstile=False)(_caller("GET", "/jobs/stats")) is None


def test_some_settings_of_a_bucket_without_the_others_stop_the_start():
    with pytest.raises(ConfigurationError, match=r"not set, although .* R2_ACCESS_KEY_ID, R2_BUCKET;"):
        _bucket(Settings(r2_endpoint="https://s3.example", r2_secret_access_key="x"))
    assert _bucket(Settings()) is None


@pytest.mark.parametrize("name", ["PUBLIC_URL", "TURNSTILE_URL", "R2_ENDPOINT"])
def test_an_address_that_is_none_stops_the_start(name):
    with pytest.raises(ConfigurationError, match=f"{name} is 'example.com'"):
        read_settings({name: "example.com"}, {})
