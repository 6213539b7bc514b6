import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import OutboundFailed, OutboundRefused
from millrace.resources.addresses import host_of, is_public, read_url
from millrace.resources.outbound import Outbound
from tests.unit.receiver import answer, never, receiving

HERE = ("127.0.0.1", "hooks.example")


class Names:
    """A name server of the test: gives its lists of addresses one after the other, and counts questions."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.questions = list(answers), list[tuple[str, int]]()

    async def __call__(self, host: str, port: int) -> list[str]:
        self.questions.append((host, port))
        return self.answers.pop(0)


async def post(outbound: Outbound, url: str, body: bytes = b"{}", timeout_seconds: float = 5, **limits):
    try:
        return await outbound.post(url, body, {"X-Test": "1"}, timeout_seconds=timeout_seconds, **limits)
    finally:
        await outbound.aclose()


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("https://hooks.example.com", "hooks.example.com", "/"),
        ("HTTPS://Hooks.Example.COM./a?b=c", "hooks.example.com", "/a?b=c"),
        ("http://hooks.example.com:80/", "hooks.example.com", "/"),
        ("https://hooks.example.com:8443?q", "hooks.example.com:8443", "/?q"),
        ("http://8.8.8.8/", "8.8.8.8", "/"),
        ("http://[2606:4700:0::1111]:81/", "[2606:4700::1111]:81", "/"),
        ("https://a_b.xn--bcher-kva.example/%C3%BC", "a_b.xn--bcher-kva.example", "/%C3%BC"),
    ],
)
def test_a_url_leads_to_a_place(url, authority, target):
    place = Outbound().check(url)

    assert (place.authority, place.target) == (authority, target)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "does not begin with http"),
        ("ftp://hooks.example.com/", "does not begin with http"),
        ("file:///etc/passwd", "does not begin with http"),
        ("//hooks.example.com/", "does not begin with http"),
        ("http://", "not of the form"),
        ("http:///path", "not of the form"),
        ("http://user:secret@hooks.example.com/", "user name or password"),
        ("http://hooks.example.com@10.0.0.1/", "user name or password"),
        ("http://hooks.example.com/#part", "fragment"),
        ("http://hooks.example.com\\@10.0.0.1/", "not of the form"),
        ("http://hooks.example.com/a b", "not of the form"),
        ("http://hooks.example.com/\r\nX: y", "not of the form"),
        ("http://hooks.example.com/\n", "not of the form"),
        ("http://bücher.example/", "not of the form"),
        ("http://\uff11\uff12\uff17.0.0.1/", "not of the form"),
        ("http://hooks.example.com:0/", "port 0"),
        ("http://hooks.example.com:65536/", "port 65536"),
        ("http://hooks.example.com:port/", "not of the form"),
        ("http://hooks..example.com/", "no host name"),
        ("http://-hooks.example.com/", "no host name"),
        ("http://" + "a." * 127 + "example/", "no host name"),
        ("http://2130706433/", "usual form"),
        ("http://0x7f000001/", "usual form"),
        ("http://0x7f.1/", "usual form"),
        ("http://127.1/", "usual form"),
        ("http://0177.0.0.1/", "usual form"),
        ("http://127.0.0.1.1/", "usual form"),
        ("http://[::1%25eth0]/", "not of the form"),
        ("http://[1:2]/", "usual form"),
        ("http://[127.0.0.1]/", "no public address"),
    ],
)
def test_a_url_that_cannot_be_is_refused(url, why):
    with pytest.raises(OutboundRefused, match=why):
        Outbound().check(url)


def test_a_refusal_shows_neither_path_nor_query_nor_password():
    with pytest.raises(OutboundRefused) as caught:
        Outbound().check("http://user:secret@10.0.0.1/secret?secret")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:127.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:808:808::1",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_an_address_that_is_not_public_is_refused_unless_it_is_allowed(address):
    host = f"[{address}]" if ":" in address else address
    shown = str(ip_address(address))

    assert not is_public(ip_address(address))
    with pytest.raises(OutboundRefused, match="no public address"):
        Outbound().check(f"http://{host}/")
    assert Outbound([shown]).check(f"http://{host}/").host == shown


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_a_public_address_is_public(address):
    assert is_public(ip_address(address))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "hooks.localhost"])
def test_names_of_this_machine_are_refused(host):
    with pytest.raises(OutboundRefused):
        Outbound().check(f"http://{host}/")


@pytest.mark.parametrize(
    ("allowed", "url", "passes"),
    [
        ("localhost", "http://localhost:9000/", True),
        (" LocalHost ", "http://localhost/", True),
        ("localhost:9000", "http://localhost:9000/", True),
        ("localhost:9000", "http://localhost:9001/", False),
        ("localhost", "http://hooks.localhost/", False),
        ("10.0.0.5:80", "http://10.0.0.5/", True),
        ("10.0.0.5", "http://10.0.0.6/", False),
        ("::1", "http://[::1]:9000/", True),
        ("[::1]:9000", "http://[::1]:9000/", True),
        ("[::1]:9000", "http://[::1]/", False),
    ],
)
def test_a_host_or_a_host_with_its_port_is_allowed(allowed, url, passes):
    outbound = Outbound([allowed])

    if passes:
        outbound.check(url)
    else:
        with pytest.raises(OutboundRefused):
            outbound.check(url)


def test_a_host_for_the_log_has_no_more_than_the_host():
    assert host_of("https://Hooks.example.com:444/path?token") == "hooks.example.com"
    assert host_of("nonsense") == ""
    assert read_url("https://hooks.example.com:444/path").host == "hooks.example.com"


async def test_a_post_goes_to_the_checked_address_under_the_name_of_the_host():
    names = Names(["127.0.0.1"])
    async with receiving(lambda request: answer(201, b"done", X_Answer="yes")) as receiver:
        got = await post(Outbound(HERE, resolve=names), f"http://hooks.example:{receiver.port}/a?b", b"hello")

    assert (got.status, got.body, got.headers["x-answer"]) == (201, b"done", "yes")
    [request] = receiver.requests
    assert (request.path, request.body, request.headers["x-test"]) == ("/a?b", b"hello", "1")
    assert request.headers["host"] == f"hooks.example:{receiver.port}"
    assert names.questions == [("hooks.example", receiver.port)]


async def test_a_name_that_leads_to_a_private_address_is_refused():
    names = Names(["127.0.0.1", "::1", "10.0.0.1", "fe80::1%2"])
    async with receiving() as receiver:
        with pytest.raises(OutboundRefused, match=r"rebound\.example has no public address"):
            await post(Outbound(HERE, resolve=names), f"http://rebound.example:{receiver.port}/")

    assert receiver.connections == 0


async def test_a_server_that_the_operator_named_is_reached_wherever_it_is():
    shared = Outbound(resolve=Names(["127.0.0.1"], ["127.0.0.1"]))
    async with receiving() as receiver:
        door = shared.reaching(f"http://relay.internal:{receiver.port}/v1")

        told = await post(door, f"http://relay.internal:{receiver.port}/v1/letters")

        with pytest.raises(OutboundRefused, match="no public address"):
            await post(shared, f"http://relay.internal:{receiver.port}/v1/letters")
    assert told.status == 200
    assert door.reaching(f"http://relay.internal:{receiver.port}/v2") is door


async def test_a_name_is_looked_up_and_checked_once_for_each_connection():
    names = Names(["127.0.0.1"], ["127.0.0.1"])
    async with receiving(lambda request: answer(Connection="close")) as receiver:
        outbound = Outbound(HERE, resolve=names)
        await post(outbound, f"http://hooks.example:{receiver.port}/")
        await post(outbound, f"http://hooks.example:{receiver.port}/")

    assert (receiver.connections, len(names.questions)) == (2, 2)


async def test_an_address_that_does_not_answer_leaves_the_next_one():
    names = Names(["127.0.0.2", "127.0.0.1"])
    async with receiving() as receiver:
        got = await post(Outbound(HERE, resolve=names), f"http://hooks.example:{receiver.port}/")

    assert got.status == 200


async def test_connections_are_used_again():
    async with receiving() as receiver:
        outbound = Outbound(HERE)
        for _ in range(3):
            await outbound.post(receiver.url, b"{}", {}, timeout_seconds=5)
        await outbound.aclose()

    assert (len(receiver.requests), receiver.connections) == (3, 1)


async def test_a_slow_server_does_not_hold_up_another():
    outbound = Outbound(HERE)
    async with receiving(never) as slow, receiving() as quick:
        waiting = [asyncio.create_task(outbound.post(slow.url, b"", {}, timeout_seconds=30)) for _ in range(30)]
        got = await outbound.post(quick.url, b"{}", {}, timeout_seconds=5)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await outbound.aclose()

    assert got.status == 200


async def test_a_redirect_is_an_answer_and_not_followed():
    async with receiving() as inside, receiving(lambda request: answer(302, Location=inside.url)) as receiver:
        got = await post(Outbound(HERE), receiver.url)

    assert (got.status, got.headers["location"]) == (302, inside.url)
    assert inside.connections == 0


async def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch):
    async with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await post(Outbound(HERE), receiver.url)

    assert (len(receiver.requests), proxy.connections) == (1, 0)


async def test_an_answer_that_drips_ends_with_the_time_for_all_of_it():
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)  # the pace of that server
        except OSError:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(OutboundFailed, match=r"no complete answer within 0\.3 s"):
        await post(Outbound(HERE), f"http://127.0.0.1:{port}/", timeout_seconds=0.3)
    server.close()


@pytest.mark.parametrize(
    "response",
    [
        answer(body=b"x" * 1001),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"64\r\n" + b"x" * 100 + b"\r\n",
    ],
    ids=["length", "chunks"],
)
async def test_an_answer_that_is_too_large_is_a_failure(response: bytes):
    body = response if b"chunked" not in response else response + (b"64\r\n" + b"x" * 100 + b"\r\n") * 20
    async with receiving(lambda request: body) as receiver:
        with pytest.raises(OutboundFailed, match="its answer is larger than 1,000 bytes"):
            await post(Outbound(HERE), receiver.url, max_answer_bytes=1000)


@pytest.mark.parametrize(
    "response",
    [
        b"SSH-2.0-OpenSSH secret-of-another-service\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"\r\n\r\n",
    ],
)
async def test_an_answer_that_is_no_http_is_a_failure_and_not_quoted(response: bytes):
    async with receiving(lambda request: response) as receiver:
        with pytest.raises(OutboundFailed, match=r"the connection broke \(RemoteProtocolError\)") as caught:
            await post(Outbound(HERE), receiver.url, timeout_seconds=2)

    assert "secret" not in str(caught.value)


async def test_a_port_where_nobody_listens_is_a_failure():
    async with receiving() as receiver:
        pass

    with pytest.raises(OutboundFailed, match=f"127.0.0.1:{receiver.port}: no connection"):
        await post(Outbound(HERE), receiver.url)


async def test_a_name_that_nobody_knows_is_a_failure():
    async def nobody(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(
        OutboundFailed, match=r"nobody\.example: its address cannot be found: Name or service not known"
    ):
        await post(Outbound(resolve=nobody), "http://nobody.example/")


async def test_a_name_that_hangs_does_not_hold_up_another(monkeypatch: pytest.MonkeyPatch):
    gate, look_up = threading.Event(), socket.getaddrinfo

    def look_up_or_hang(host: str, *arguments: Any, **named: Any) -> Any:
        if host == "hangs.example":
            gate.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up(host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_or_hang)
    async with receiving() as receiver:
        outbound = Outbound(["localhost"])
        hanging = [asyncio.create_task(post(outbound, "http://hangs.example/")) for _ in range(40)]
        await asyncio.sleep(0)
        got = await post(outbound, f"http://localhost:{receiver.port}/")
        gate.set()
        ends = await asyncio.gather(*hanging, return_exceptions=True)

    assert got.status == 200
    assert {str(end) for end in ends} == {
        "hangs.example: its address cannot be found: Temporary failure in name resolution"
    }


async def test_the_system_is_asked_for_a_name():
    async with receiving() as receiver:
        got = await post(Outbound(["localhost"]), f"http://localhost:{receiver.port}/")

    assert got.status == 200


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and its own certificate for hooks.example, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=hooks.example"
    files = ["-keyout", "key.pem", "-out", "cert.pem", "-addext", "subjectAltName=DNS:hooks.example"]
    subprocess.run([*command.split(), *files], cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return both


def _server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_the_certificate_is_checked_for_the_name_and_not_for_the_address(certificate: Path):
    names, trusting = Names(["127.0.0.1"]), ssl.create_default_context(cafile=certificate)
    async with receiving(tls=_server_tls(certificate)) as receiver:
        got = await post(Outbound(HERE, resolve=names, tls=trusting), f"https://hooks.example:{receiver.port}/")

    assert got.status == 200


@pytest.mark.parametrize(("host", "trusts"), [("other.example", True), ("hooks.example", False)])
async def test_a_certificate_for_another_name_or_of_nobody_we_trust_is_a_failure(certificate: Path, host, trusts):
    tls = ssl.create_default_context(cafile=certificate) if trusts else None
    async with receiving(tls=_server_tls(certificate)) as receiver:
        with pytest.raises(OutboundFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await post(Outbound([host], resolve=Names(["127.0.0.1"]), tls=tls), f"https://{host}:{receiver.port}/")

    assert receiver.requests == []
