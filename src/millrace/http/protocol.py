"""What is refused before there is a request: bytes that are no HTTP, endless headers, and silence."""

import asyncio
from typing import Any

import msgspec
import uuid_utils
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from millrace import limits


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with a limit to the size and the time of headers, and our envelope around refusals."""

    _is_in_head = False
    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Expect a request soon."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._stop_expecting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0
        self._expect_head()

    def on_headers_complete(self) -> None:
        """End the count."""
        self._is_in_head = False
        self._stop_expecting()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, as long as the head is of a sensible size."""
        was_in_head = self._is_in_head
        super().data_received(data)
        if self._is_in_head:
            self._head_bytes = len(data) + (self._head_bytes if was_in_head else 0)
            if self._head_bytes > limits.HEAD_BYTES:
                self._refuse("431 Request Header Fields Too Large", f"The headers exceed {limits.HEAD_BYTES} bytes.")

    def send_400_response(self, msg: str) -> None:
        """Answer 400 and close the connection."""
        self._refuse("400 Bad Request", "This is no HTTP request that can be read.")

    def _refuse(self, status: str, sentence: str) -> None:
        if self.transport.is_closing():
            return
        failure = {"success": False, "errors": [{"code": 10208, "message": sentence}], "messages": [], "result": None}
        body = msgspec.json.encode(failure)
        head = (
            f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"x-correlation-id: {uuid_utils.uuid4()}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _expect_head(self) -> None:
        self._stop_expecting()
        self._deadline = self.loop.call_later(limits.REQUEST_SECONDS, self.transport.close)

    def _stop_expecting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
