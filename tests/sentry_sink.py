"""A stand-in for Sentry: takes envelopes on a free port and keeps the events in them."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


class Sink:
    """Serves while it is entered; `status` is what it answers."""

    def __init__(self) -> None:
        self.status = 200
        self.bodies: list[bytes] = []
        self._arrived = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.dsn = f"http://the-key@127.0.0.1:{self._server.server_port}/1"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body.splitlines()[2]) for body in self.bodies]

    def wait_for(self, name: str, seconds: float = 10) -> dict[str, Any]:
        """Give the first report of an event of this name, once it is there."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: self._named(name), seconds), f"no {name} in {self.bodies}"
        return self._named(name)[0]

    def _named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["tags"]["event"] == name]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                with sink._arrived:
                    sink.bodies.append(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
                    sink._arrived.notify_all()
                self.send_response(sink.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler
