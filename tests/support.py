"""Real servers for tests: started on a free port, killed or stopped at will, always gone in the end."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

import pytest

from tests.clusters import database_for
from tests.starting import COMMAND, Fork, start

ROOT = Path(__file__).parent.parent
START_SECONDS = 20
IS_SOAK = bool(os.environ.get("SOAK"))  # `make soak`: the long form of tests that try the same again and again
STOP_SECONDS = 20
ADDRESS = re.compile(rb'"address":"(http://[^"]+)"')
KEY = "sk_live_the-key-of-the-tests"
MASTER_KEY = "7e" * 32


def environ_for(data: Path) -> dict[str, str]:
    """Give what a server on this data directory finds in its environment: the URL of a database, if that has the store.

    And a master key, since servers on a database make none.
    TEST_STORE=postgres moves all of them there.
    """
    is_there = data in ON_POSTGRES or os.environ.get("TEST_STORE") == "postgres"
    return {"DATABASE_URL": database_for(data), "MASTER_KEY": MASTER_KEY} if is_there else {}


ON_POSTGRES: set[Path] = set()  # data directories whose store is in a database
ON_BOTH_STORES = pytest.mark.parametrize("server", ["sqlite", "postgres"], indirect=True, scope="module")


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def result(self) -> Any:
        assert self.status == 200, (self.status, self.body[:500])
        return self.json["result"]

    @property
    def code(self) -> int:
        """The first error code of a v4 answer."""
        return self.json["errors"][0]["code"]


class Server:
    """One `millrace serve` process on a data directory; it may be started again after a stop or a kill."""

    def __init__(
        self, data: Path, *arguments: str, environ: dict[str, str] | None = None, key: str | None = KEY
    ) -> None:
        self.data, self.arguments, self.key = data, arguments, key
        self.environ = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            **({"ADMIN_TOKEN": key} if key else {}),
            **(environ or {}),
        }
        self.environ.pop("PORT", None)
        self.environ = {**environ_for(data), **self.environ}
        self.output = bytearray()
        self.url = ""
        self.process: Fork | subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> "Server":
        self.output = bytearray()
        self.process = start([*self._command(), *self.arguments], env=self.environ)
        # A pipe each: in a common one the greeting may fall into the middle of a log line.
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (self.process.stdout, self.process.stderr)
        ]
        for reader in self._readers:
            reader.start()
        if wait:
            self._wait_until_it_serves()
        return self

    def _command(self) -> list[str]:
        return [*COMMAND, "serve", "--port", "0", "--data", str(self.data)]

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            self.output += line

    def _wait_until_it_serves(self) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            found = ADDRESS.search(bytes(self.output))
            if found:
                self.url = found[1].decode()
                return
            if self.process.poll() is not None:
                for reader in self._readers:
                    reader.join(2)
                raise AssertionError(f"the server ended with {self.process.returncode}: {self.text}")
            time.sleep(0.01)
        raise AssertionError(f"the server did not start: {self.text}")

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace")

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]

    def wait_for_text(self, text: str, seconds: float = 10) -> None:
        until = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < until, f"{text!r} did not appear in: {self.text[-3000:]}"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once, as a power cut of the process would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Stop it in order and give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self.start() if self.process is None else self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "",
        headers: dict[str, str] | None = None,
        timeout: float = 15,
    ) -> Reply:
        """Call a route; a body that is no bytes is sent as JSON; `key=None` sends none."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers or {}, method=method)
        token = self.key if key == "" else key
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return Reply(answer.status, _lower(answer.headers), answer.read())
        except urllib.error.HTTPError as answer:
            return Reply(answer.code, _lower(answer.headers), answer.read())

    def v4(self, method: str, path: str, body: Any = None, *, account: str = "local", **more: Any) -> Reply:
        """Call a route below the account, such as `/queues`."""
        return self.call(method, f"/client/v4/accounts/{account}{path}", body, **more)

    def create_queue(self, name: str, *, consumer: dict[str, Any] | None = None, **settings: Any) -> str:
        """Create a queue (with a consumer, `{"type": "http_pull"}` say) and give its id."""
        queue_id = self.v4("POST", "/queues", {"queue_name": name, "settings": settings}).result["queue_id"]
        if consumer is not None:
            assert self.v4("POST", f"/queues/{queue_id}/consumers", consumer).status == 200
        return queue_id


def with_packages(*packages: str) -> list[str]:
    """Begin a command in an environment of its own that has these packages, made when it is needed."""
    own = ROOT / ".venv" / "uv" / "bin" / "uv"
    uv = str(own) if own.exists() else shutil.which("uv")
    assert uv, "uv is missing; `make test` installs it into .venv/uv"
    flags = [flag for package in packages for flag in ("--with", package)]
    return [uv, "run", "--quiet", "--no-project", "--isolated", *flags]


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
