"""See a message handled, retried, buried, looked at and redriven, in a few seconds: `make demo`.

Starts a server of its own on a free port with a data directory that is gone afterwards. Exits with 0 when
everything went as told below, else with 1.
"""

import base64
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, TypeVar

import httpx2

HERE = Path(__file__).parent
SECONDS = 8  # for each thing that must come about
ADDRESS = re.compile(r'"address":"(http://[^"]+)"')
QUEUES = "/client/v4/accounts/local/queues"
T = TypeVar("T")


class Delivery(NamedTuple):
    """One line of the table."""

    name: str
    attempt: int
    result: str


EXPECTED = [
    Delivery("event 1", 1, "handled"),
    Delivery("event 2", 1, "handled"),
    Delivery("event 3", 1, "handled"),
    Delivery("order of tea", 1, "handled"),
    Delivery("order of coffee", 1, "failed: the till does not answer"),
    Delivery("order of coffee", 2, "failed: the till does not answer"),
    Delivery("order of coffee", 3, "handled"),
    Delivery("order of an umbrella", 1, "failed: no umbrella in stock"),
    Delivery("supply of umbrellas", 1, "handled"),
    Delivery("order of an umbrella", 1, "handled"),
]


class Failed(Exception):
    """Something did not come about as told."""


class Shop:
    """The demo's server, from outside."""

    def __init__(self, url: str, key: str) -> None:
        self._client = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=SECONDS)
        queues = self._call("GET", QUEUES)["result"]
        self._ids = {queue["queue_name"]: queue["queue_id"] for queue in queues}
        self.deliveries: list[Delivery] = []

    def send_event(self, name: str) -> None:
        """Post an event."""
        self._call("POST", "/events", {"payload": {"name": name}})

    def send(self, queue: str, **body: object) -> None:
        """Send a message to a queue."""
        self._on(queue, "/messages", {"body": body})

    def pull_deliveries(self, count: int) -> bool:
        """Pull and acknowledge what the handlers noted, and say whether there are so many now."""
        messages = self._on("deliveries", "/messages/pull", {"batch_size": 100})["messages"]
        for message in messages:
            self.deliveries.append(Delivery(**json.loads(base64.b64decode(message["body"]))))
        if messages:
            acks = [{"lease_id": message["lease_id"]} for message in messages]
            self._on("deliveries", "/messages/ack", {"acks": acks})
        return len(self.deliveries) >= count

    def peek(self, queue: str) -> list[Any]:
        """Look at the messages of a queue without taking them."""
        messages: list[Any] = self._on(queue, "/messages/peek", {})["messages"]
        return messages

    def redrive(self, queue: str) -> int:
        """Send buried messages back to where they came from; give how many."""
        count: int = self._on(queue, "/redrive", {})["redriven"]
        return count

    def _on(self, queue: str, path: str, body: object) -> Any:
        return self._call("POST", f"{QUEUES}/{self._ids[queue]}{path}", body)["result"]

    def _call(self, method: str, path: str, body: object = None) -> Any:
        answer = self._client.request(method, path, json=body)
        if answer.status_code != 200:
            raise Failed(f"{method} {path} answered {answer.status_code}: {answer.text[:500]}")
        return answer.json()


def main() -> int:
    """Run the demo; 0 when it went as told."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped then, too
    began = time.monotonic()
    try:
        with _served() as shop:
            _tell(shop)
            _print_table(shop.deliveries)
            _compare(shop.deliveries)
    except (Failed, httpx2.HTTPError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    print(f"\nAll of it as told, in {time.monotonic() - began:.1f} s.")
    return 0


def _tell(shop: Shop) -> None:
    print("Three events go in at POST /events, three orders into the queue `orders`.")
    for number in (1, 2, 3):
        shop.send_event(f"event {number}")
    shop.send("orders", name="order of tea", item="tea")
    shop.send("orders", name="order of coffee", item="coffee", failures=2)
    shop.send("orders", name="order of an umbrella", item="umbrella")
    _wait("eight deliveries", lambda: shop.pull_deliveries(8))

    [buried] = _wait("a message in orders-dlq", lambda: shop.peek("orders-dlq"))
    order = json.loads(base64.b64decode(buried["body"]))
    print(f"The {order['name']} lies in `orders-dlq`. Reason: {buried['metadata']['Millrace-Reason']}.")

    print("Umbrellas arrive. Then `orders-dlq` is redriven.")
    shop.send("supplies", name="supply of umbrellas", item="umbrella")
    _wait("the supply", lambda: shop.pull_deliveries(9))
    print(f"Redriven: {shop.redrive('orders-dlq')} message.")
    _wait("the redriven order", lambda: shop.pull_deliveries(10))
    if shop.peek("orders-dlq"):
        raise Failed("orders-dlq is not empty after the redrive")


def _print_table(deliveries: list[Delivery]) -> None:
    width = max(len(delivery.name) for delivery in deliveries)
    print(f"\n{'message':{width}}  delivery  result")
    print(f"{'-' * width}  --------  {'-' * 32}")
    for delivery in deliveries:
        print(f"{delivery.name:{width}}  {delivery.attempt:8}  {delivery.result}")


def _compare(deliveries: list[Delivery]) -> None:
    if sorted(deliveries) != sorted(EXPECTED):
        wrong = sorted(set(deliveries) ^ set(EXPECTED)) or "a delivery came twice"
        raise Failed(f"the deliveries are not those expected: {wrong}")


def _wait(what: str, ask: Callable[[], T]) -> T:
    """Ask until there is an answer."""
    until = time.monotonic() + SECONDS
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() >= until:
            raise Failed(f"{what} did not come about within {SECONDS} s")
        time.sleep(0.02)


@contextmanager
def _served() -> Iterator[Shop]:
    """Serve the shop while the block runs."""
    key = f"sk_live_{secrets.token_urlsafe(32)}"
    with TemporaryDirectory(prefix="millrace-demo-") as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "millrace.cli.main", "serve", "--host", "127.0.0.1", "--port", "0"]
        command += ["--data", f"{folder}/data", "--config", str(HERE / "demo.toml")]
        command += ["--app", f"{HERE / 'demo_app.py'}:app"]
        environ = {**os.environ, "ADMIN_TOKEN": key, "ACCOUNT_ID": "local", "AUTH_MODE": "keys"}
        with log.open("wb") as output:
            server = subprocess.Popen(command, env=environ, stdout=output, stderr=output)  # noqa: S603 - our own server
        try:
            url = _wait("the server", lambda: _address(server, log))
            print(f"Millrace serves a small shop on {url}.\n")
            yield Shop(url, key)
        except Failed:
            print(f"\nThe server's log:\n{log.read_text(errors='replace')[-4000:]}", file=sys.stderr)
            raise
        finally:
            _stop(server)


def _address(server: "subprocess.Popen[bytes]", log: Path) -> str | None:
    text = log.read_text(errors="replace")
    if server.poll() is not None:
        raise Failed(f"the server ended with {server.returncode}: {text[-2000:]}")
    found = ADDRESS.search(text)
    return found[1] if found else None


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
