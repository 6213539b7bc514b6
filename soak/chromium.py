"""A real browser without a window, told what to do over its DevTools protocol."""

import itertools
import json
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import connect

PROGRAM = shutil.which("chromium") or "chromium"
SECONDS = 30
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0", "about:blank")


class Chromium:
    """One page in a browser with a profile of its own; `complaints` are what its console has said."""

    def __init__(self, profile: Path) -> None:
        self._profile = profile
        self._numbers, self._ending = itertools.count(1), ExitStack()
        self.complaints: list[str] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [PROGRAM, f"--user-data-dir={self._profile}", *FLAGS], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            self._connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()
        self._process.terminate()
        self._process.wait(SECONDS)

    def open(self, address: str) -> None:
        self._call("Page.navigate", url=address)
        self.until(f"location.href.startsWith({json.dumps(address)}) && document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """Give the plain value that an expression of JavaScript yields in the page, None when it fails."""
        answer = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """Look again until an expression yields something, and give it."""
        return _until(lambda: self.value(expression), expression)

    def look(self, *, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Give the window another size, and the reader another taste: a light or a dark scheme of colours."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._call("Emulation.setScrollbarsHidden", hidden=True)  # they would stand in the picture's way
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> None:
        """Write the whole page as a picture, what is below the window included."""
        png = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(b64decode(png))

    def _connect(self) -> None:
        port_file = self._profile / "DevToolsActivePort"
        lines = _until(lambda: port_file.exists() and port_file.read_text().split(), "the browser does not start")
        self._socket = self._ending.enter_context(connect(f"ws://127.0.0.1:{lines[0]}{lines[1]}", max_size=None))
        self._session: str | None = None
        pages = [one for one in self._call("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        attached = self._call("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self._session = attached["sessionId"]
        self._call("Log.enable")

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        session = {} if self._session is None else {"sessionId": self._session}
        self._socket.send(json.dumps({"id": number, "method": method, "params": params, **session}))
        while True:
            told = json.loads(self._socket.recv(SECONDS))
            if told.get("method") == "Log.entryAdded":
                self.complaints.append(told["params"]["entry"]["text"])
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]


def _until(look: Callable[[], Any], what: str) -> Any:
    until = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < until, what
        time.sleep(0.05)
    return found
