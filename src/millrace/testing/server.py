"""A real server for a test: its own process, a free port, a data directory that is gone in the end."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import msgspec

from millrace.client.synchronous import Client
from millrace.errors import ConfigurationError

START_SECONDS = 20
STOP_SECONDS = 20
READER_SECONDS = 5  # a process that a handler has started may hold the server's output open
SHOWN_CHARACTERS = 3_000
KEY = "sk_test_a-key-that-is-good-for-this-server-only"


class ServerOnFreePort:
    """One `millrace serve`, while it is entered with `with`.

    Args:
        app: Handlers, as `--app` takes them; seen from the working folder.
        config: A wrangler file. Without it none is looked for.
        environment: The named environment of the file.
        environ: Environment variables beside those of the test.
        data: A data directory to use and keep.
        flags: More flags of `millrace serve`.

    Raises:
        ConfigurationError: on entering: the server did not start; the sentence has what it wrote.
    """

    def __init__(
        self,
        app: str | None = None,
        config: str | Path | None = None,
        *,
        environment: str | None = None,
        environ: Mapping[str, str] | None = None,
        data: str | Path | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        self.token, self.url = KEY, ""
        self._data, self._flags = data, ["--config", str(config or ""), *flags]
        self._flags += ["--app", app] if app else []
        self._flags += ["--env", environment] if environment else []
        self._environ = {**os.environ, **(environ or {}), "ADMIN_TOKEN": KEY}  # the server's own is the test's
        self._port = "0"
        self._ending = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._output = bytearray()
        self._written = threading.Condition()
        self._has_ended = False

    def __enter__(self) -> Self:
        if self._data is None:
            self._data = self._ending.enter_context(TemporaryDirectory(prefix="millrace-"))
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with self._ending:
            self.kill()

    @property
    def output(self) -> str:
        """What the server has written since it was started last: its log, and what handlers print."""
        return self._output.decode(errors="replace")

    def client(self) -> Client:
        """Give a client with the server's key; it is closed in the end."""
        self._running()
        return self._ending.enter_context(Client(self.url, self.token))

    def wait_for_output(self, text: str, seconds: float = 10) -> None:
        """Wait until the server, or a handler, has written this.

        Raises:
            AssertionError: it does not come in time, or the server ends without it.
        """
        with self._written:
            self._written.wait_for(lambda: text in self.output or self._has_ended, seconds)
        if text not in self.output:
            raise AssertionError(f"the server has not written {text!r}. {self._wrote()}")

    def stop(self) -> int:
        """Stop it in order, as SIGTERM does, and give its exit code.

        Raises:
            ConfigurationError: it did not stop within 20 s.
        """
        process = self._running()
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ConfigurationError(f"the server did not stop in {STOP_SECONDS} s. {self._wrote()}") from None
        finally:
            self._reader.join(READER_SECONDS)

    def kill(self) -> None:
        """End it at once, as a power cut of the process would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._reader.join(READER_SECONDS)

    def restart(self) -> None:
        """Start it again on the same data and the same port; stop it before, if it runs."""
        if self._running().poll() is None:
            self.stop()
        self._start()

    def _start(self) -> None:
        command = [sys.executable, "-m", "millrace.cli.main", "serve", "--host", "127.0.0.1", "--port", self._port]
        self._output = bytearray()
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [*command, "--data", str(self._data), *self._flags],
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.url, self._has_ended = "", False
        self._reader = threading.Thread(target=self._read, args=(self._process, self._output), daemon=True)
        self._reader.start()
        with self._written:
            self._written.wait_for(lambda: self.url or self._has_ended, START_SECONDS)
        if not self.url:
            raise ConfigurationError(f"the server did not start. {self._wrote()}")

    def _read(self, process: subprocess.Popen[bytes], output: bytearray) -> None:
        """Read what the server writes until it ends; the first address in it is the server's."""
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with self._written:
                    output += line
                    if not self.url and (address := _address_in(line)) is not None:
                        self.url, self._port = address, address.rpartition(":")[2]
                    self._written.notify_all()
        with self._written:
            if process is self._process:  # else it was started again meanwhile
                self._has_ended = True
            self._written.notify_all()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ConfigurationError("the server is not started; use `with ServerOnFreePort(…) as server`")
        return self._process

    def _wrote(self) -> str:
        return f"It wrote: {self.output[-SHOWN_CHARACTERS:] or 'nothing'}"


def _address_in(line: bytes) -> str | None:
    """Give the address in the log line of a start."""
    try:
        fields: Any = msgspec.json.decode(line)
    except msgspec.DecodeError:  # something else was printed
        return None
    return fields.get("address") if isinstance(fields, dict) else None
