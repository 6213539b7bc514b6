"""A mail server and an HTTP service that take whatever comes at once and keep nothing, in a process of their own."""

import asyncio
import sys

import uvloop

REPLIES = {
    b"EHLO": b"250-sink\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 bye\r\n",
}
END = b"\r\n.\r\n"
CREATED = b'{"sid": "SM00000000000000000000000000000001", "status": "queued"}'


class MailSink(asyncio.Protocol):
    """Says yes to everything; `seconds` after the end of a mail, which `taken` counts."""

    taken = 0
    seconds = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._received, self._is_data = b"", False
        self._transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer each line, and each mail."""
        self._received += data
        while True:
            end = END if self._is_data else b"\r\n"
            line, found, rest = self._received.partition(end)
            if not found:
                return
            self._received = rest
            if self._is_data:
                self._take()
            else:
                verb = line[:4].upper()
                self._is_data = verb == b"DATA"
                self._transport.write(REPLIES.get(verb, b"250 ok\r\n"))

    def _take(self) -> None:
        self._is_data = False
        MailSink.taken += 1
        if self.seconds:
            asyncio.get_running_loop().call_later(self.seconds, self._transport.write, b"250 taken\r\n")
        else:
            self._transport.write(b"250 taken\r\n")


class TextSink(asyncio.Protocol):
    """Answers each request as Twilio does a message it takes."""

    taken = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Answer whole requests."""
        self._received += data
        while True:
            head, found, rest = self._received.partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0) if found else 0
            if not found or len(rest) < length:
                return
            self._received = rest[length:]
            TextSink.taken += 1
            answer = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            self._transport.write(answer % len(CREATED) + CREATED)


async def _serve(seconds: float) -> None:
    """Print the two ports; after each line of input, how many mails and text messages were taken."""
    loop = asyncio.get_running_loop()
    MailSink.seconds = seconds
    servers = [await loop.create_server(kind, "127.0.0.1", 0) for kind in (MailSink, TextSink)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(MailSink.taken, TextSink.taken, flush=True)


if __name__ == "__main__":
    uvloop.run(_serve(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0))
