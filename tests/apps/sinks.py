"""Small real servers that messages are sent to: a mail server, Twilio's API and Resend's API.

They run in threads of their own, so tests of a server process may use them as well as tests in a loop.
"""

import asyncio
import json
import ssl
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from itertools import count
from threading import Event, Thread
from typing import Any, NamedTuple, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pytest_httpserver import HTTPServer, URIPattern
from twilio.request_validator import RequestValidator
from werkzeug import Request, Response

HANG, DROP = "hang", "drop"


class Mail(NamedTuple):
    """One e-mail that was taken."""

    sender: str
    recipient: str
    message: EmailMessage
    raw: bytes
    is_tls: bool
    user: str | None


class MailSink:
    """A mail server that keeps what it takes. Tell it what to say where:

    `replies["RCPT"] = "550 5.1.1 no such user"` for each RCPT (also MAIL, DATA, EHLO, RSET); a function of the
    recipient in its place decides for each e-mail, None lets it pass. `HANG` never answers, `DROP` closes the line: at
    DATA in the middle of the message, at DATA_END when all of it is there, just before the answer.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, is_tls_at_once: bool = False, users: dict[str, str] | None = None
    ) -> None:
        self.mails: list[Mail] = []
        self.replies: dict[str, str | Callable[[str], str | None]] = {}
        self.tried = self.connections = self.open = 0
        self.hanging, self._no_more = Event(), Event()
        self._tls, self._is_tls_at_once, self.users = tls, is_tls_at_once, users
        self._loop, self._started = asyncio.new_event_loop(), Event()
        self._thread = Thread(target=self._run, daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def reply(self, step: str, recipient: str = "") -> str | None:
        told = self.replies.get(step)
        return told(recipient) if callable(told) else told

    async def all_closed(self) -> None:
        """Wait until no connection is open."""
        await asyncio.to_thread(self._no_more.wait)

    def opened(self, more: int) -> None:
        """Count connections; it is the server's thread that calls."""
        self.connections += max(more, 0)
        self.open += more
        if self.open == 0:
            self._no_more.set()
        else:
            self._no_more.clear()

    def options(self) -> dict[str, Any]:
        """Give the arguments of aiosmtpd's server."""
        options: dict[str, Any] = {"hostname": "sink.example", "auth_require_tls": False}
        if self._tls is not None and not self._is_tls_at_once:
            options["tls_context"] = self._tls
        if self.users is not None:
            options |= {"auth_required": True, "authenticator": self._authenticate}
        return options

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(self._listen())
        self._started.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        tls = self._tls if self._is_tls_at_once else None
        server = await self._loop.create_server(self._make, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def _make(self) -> SMTP:
        return _Smtp(self, _Handler(self), loop=self._loop, **self.options())

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any
    ) -> AuthResult:
        assert isinstance(given, LoginPassword)
        user = given.login.decode()
        if self.users.get(user) != given.password.decode():
            return AuthResult(success=False, handled=False)
        return AuthResult(success=True, auth_data=user)


class _Smtp(SMTP):
    def __init__(self, sink: MailSink, *args: Any, **more: Any) -> None:
        self._sink = sink
        super().__init__(*args, **more)

    def connection_made(self, transport: Any) -> None:
        self._sink.opened(1)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._sink.opened(-1)
        super().connection_lost(error)

    async def push(self, status: Any) -> None:
        if str(status).startswith("220") and (told := self._sink.reply("GREETING")):
            status = told
        await super().push(status)

    async def smtp_RSET(self, arg: str) -> None:  # noqa: N802 - the library's name
        told = self._sink.reply("RSET")
        if told == DROP:
            self.transport.abort()
        elif told == HANG:
            await _hang(self._sink)
        else:
            await super().smtp_RSET(arg)

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - the library's name
        if self.envelope.rcpt_tos and self._sink.reply("DATA", self.envelope.rcpt_tos[0]) == DROP:
            await self.push("354 go on")
            await self._reader.readuntil(b"\r\n")
            self.transport.abort()
            return
        await super().smtp_DATA(arg)


class _Handler:
    def __init__(self, sink: MailSink) -> None:
        self._sink = sink

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        told = await self._told(server, "EHLO")
        return [told] if told else responses

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self._sink.tried += 1
        told = await self._told(server, "MAIL")
        if told is None:
            envelope.mail_from = address
        return told or "250 2.1.0 Ok"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        told = await self._told(server, "RCPT", address)
        if told is None:
            envelope.rcpt_tos.append(address)
        return told or "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        recipient = envelope.rcpt_tos[0]
        told = await self._told(server, "DATA", recipient) or await self._told(server, "DATA_END", recipient)
        if told is not None:
            return told
        raw = bytes(envelope.content)
        message = message_from_bytes(raw, policy=default)
        user = session.auth_data if session.authenticated else None
        is_tls = server.transport.get_extra_info("sslcontext") is not None
        self._sink.mails.append(Mail(envelope.mail_from, recipient, message, raw, is_tls, user))
        return f"250 2.0.0 Ok: queued as {len(self._sink.mails)}"

    async def _told(self, server: SMTP, step: str, recipient: str = "") -> str | None:
        told = self._sink.reply(step, recipient)
        if told == HANG:
            await _hang(self._sink)
        if told == DROP:
            server.transport.abort()
            await asyncio.Event().wait()  # until the library cancels what belongs to the connection
        return told


async def _hang(sink: MailSink) -> None:
    sink.hanging.set()
    await asyncio.Event().wait()


class Told(NamedTuple):
    """An answer that is not the usual one."""

    status: int
    body: bytes
    headers: dict[str, str]


class _HttpSink:
    """An HTTP server that answers as it is told, once for each call of `answer`, and otherwise as the real one."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._told: list[Told] = []
        self._always: Told | None = None
        self._server = HTTPServer(host="127.0.0.1", port=0)
        self._server.expect_request(_Anything()).respond_with_handler(self._respond)

    @property
    def url(self) -> str:
        return self._server.url_for("").rstrip("/")

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.clear()
        self._server.stop()

    def answer(self, status: int, body: object = b"", *, always: bool = False, **headers: str) -> None:
        """Answer the next request so (all requests, if `always`); `_` in a header's name is `-`."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        told = Told(status, content, {name.replace("_", "-"): value for name, value in headers.items()})
        if always:
            self._always = told
        else:
            self._told.append(told)

    def recover(self) -> None:
        """Answer as the real one again, and forget what was asked and taken."""
        self._told.clear()
        self._always = None
        self.requests.clear()
        self.forget()

    def forget(self) -> None:
        raise NotImplementedError

    def usual(self, request: Request) -> Response:
        raise NotImplementedError

    def _respond(self, request: Request) -> Response:
        request.get_data()  # kept, so that tests can read it later
        self.requests.append(request)
        told = self._told.pop(0) if self._told else self._always
        if told is not None:
            return Response(told.body, told.status, {"Content-Type": "application/json", **told.headers})
        return self.usual(request)


class _Anything(URIPattern):
    """Matches every path."""

    def match(self, uri: str) -> bool:
        return True


# What Twilio says with its codes: the HTTP status, and the sentence.
TWILIO_ERRORS = {
    20003: (401, "Authenticate"),
    20404: (404, "The requested resource was not found"),
    20429: (429, "Too Many Requests"),
    20500: (500, "Internal Server Error"),
    21211: (400, "The 'To' number {to} is not a valid phone number."),
    21408: (400, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number: {to}."),
    21602: (400, "Message body is required."),
    21604: (400, "A 'To' phone number is required."),
    21603: (400, "A 'From' phone number is required."),
    21606: (400, "The From phone number {from} is not a valid, SMS-capable inbound phone number for your account."),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21611: (429, "SMS queue is full."),
    21614: (400, "To number: {to}, is not a mobile number"),
    30001: (400, "Queue overflow"),
    30003: (400, "Unreachable destination handset"),
}


class TwilioSink(_HttpSink):
    """Twilio's messages of one account. Numbers that are told to `numbers` fare as their code says."""

    def __init__(self, account_sid: str = "AC" + "0" * 32, auth_token: str = "twilio-token") -> None:
        super().__init__()
        self.account_sid, self.auth_token = account_sid, auth_token
        self.messages: dict[str, dict[str, Any]] = {}
        self.forms: list[dict[str, str]] = []
        self.numbers: dict[str, int] = {}
        self._sids = count(1)

    def forget(self) -> None:
        self.messages.clear()
        self.forms.clear()
        self.numbers.clear()

    def fail(self, code: int, *, always: bool = False, **headers: str) -> None:
        """Answer the next request with an error of Twilio's."""
        self.answer(TWILIO_ERRORS[code][0], _twilio_error(code, {}), always=always, **headers)

    def usual(self, request: Request) -> Response:
        given = request.authorization
        if given is None or (given.username, given.password) != (self.account_sid, self.auth_token):
            return self._refuse(20003, {})
        root = f"/2010-04-01/Accounts/{self.account_sid}/Messages"
        if request.path == f"{root}.json" and request.method == "POST":
            return self._create(request.form.to_dict())
        sid = request.path.removeprefix(f"{root}/").removesuffix(".json")
        if request.method == "GET" and sid in self.messages:
            return _json(200, self.messages[sid])
        return self._refuse(20404, {})

    def report(self, sid: str, status: str, code: int | None = None) -> tuple[str, dict[str, str], dict[str, str]]:
        """Set a message's status; give URL, form and headers of the report that Twilio would post, signed."""
        message = self.messages[sid]
        message |= {"status": status, "error_code": code}
        form = {
            "AccountSid": self.account_sid,
            "ApiVersion": "2010-04-01",
            "From": message["from"] or "",
            "MessageSid": sid,
            "MessageStatus": status,
            "SmsSid": sid,
            "SmsStatus": status,
            "To": message["to"],
            **({} if code is None else {"ErrorCode": str(code)}),
        }
        url = next(form["StatusCallback"] for form in self.forms if form["sid"] == sid)
        signature = RequestValidator(self.auth_token).compute_signature(url, form)
        return url, form, {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}

    def _create(self, form: dict[str, str]) -> Response:
        to, code = form.get("To", ""), self.numbers.get(form.get("To", ""))
        missing = {"To": 21604, "Body": 21602}
        code = next((wanted for name, wanted in missing.items() if not form.get(name)), code)
        if code is None and not (form.get("From") or form.get("MessagingServiceSid")):
            code = 21603
        if code is not None:
            return self._refuse(code, {"to": to, "from": form.get("From", "")})
        sid = f"SM{next(self._sids):032x}"
        self.messages[sid] = _twilio_message(sid, self.account_sid, form)
        self.forms.append({**form, "sid": sid})
        return _json(201, self.messages[sid])

    def _refuse(self, code: int, about: dict[str, str]) -> Response:
        return _json(TWILIO_ERRORS[code][0], _twilio_error(code, about))


class ResendSink(_HttpSink):
    """Resend's e-mails, each under its idempotency key."""

    def __init__(self, api_key: str = "re_key") -> None:
        super().__init__()
        self.api_key = api_key
        self.emails: dict[str, dict[str, Any]] = {}
        self._ids: dict[str, str] = {}

    def forget(self) -> None:
        self.emails.clear()
        self._ids.clear()

    def usual(self, request: Request) -> Response:
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return _json(403, {"statusCode": 403, "name": "invalid_api_key", "message": "API key is invalid"})
        if (request.method, request.path) != ("POST", "/emails"):
            return _json(404, {"statusCode": 404, "name": "not_found", "message": "The endpoint does not exist"})
        email, key = request.get_json(), request.headers.get("Idempotency-Key", "")
        taken = self._ids.get(key)
        if taken is not None and self.emails[taken] != email:
            return _json(409, {"statusCode": 409, "name": "invalid_idempotent_request", "message": "another payload"})
        if missing := [name for name in ("from", "to", "subject") if name not in email]:
            message = f"Missing `{missing[0]}` field"
            return _json(422, {"statusCode": 422, "name": "missing_required_field", "message": message})
        email_id = taken or f"re-{len(self.emails) + 1}"
        self.emails[email_id] = email
        self._ids[key or email_id] = email_id
        return _json(200, {"id": email_id})


@contextmanager
def serving(sink: Any) -> Iterator[Any]:
    """Run an HTTP sink."""
    sink.start()
    try:
        yield sink
    finally:
        sink.stop()


def basic(header: str) -> str:
    """Read what stands in an `Authorization: Basic` header."""
    return b64decode(header.removeprefix("Basic ")).decode()


def _json(status: int, body: object) -> Response:
    return Response(json.dumps(body), status, {"Content-Type": "application/json"})


def _twilio_error(code: int, about: dict[str, str]) -> dict[str, Any]:
    status, sentence = TWILIO_ERRORS[code]
    message = sentence.format(**{"to": "+15005550001", "from": "+15005550007", **about})
    return {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }


def _twilio_message(sid: str, account_sid: str, form: dict[str, str]) -> dict[str, Any]:
    uri = f"/2010-04-01/Accounts/{account_sid}/Messages/{sid}"
    return {
        "account_sid": account_sid,
        "api_version": "2010-04-01",
        "body": form["Body"],
        "date_created": "Sun, 22 Nov 2026 12:00:00 +0000",
        "date_sent": None,
        "date_updated": "Sun, 22 Nov 2026 12:00:00 +0000",
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": form.get("From"),
        "messaging_service_sid": form.get("MessagingServiceSid"),
        "num_media": "0",
        "num_segments": "1",
        "price": None,
        "price_unit": "USD",
        "sid": sid,
        "status": "queued",
        "subresource_uris": {"media": f"{uri}/Media.json"},
        "to": form["To"],
        "uri": f"{uri}.json",
    }
