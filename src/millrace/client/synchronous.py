# Generated from src/millrace/client/asynchronous.py by scripts/sync_client.py; do not edit.
"""The client: queues, consumers, messages and keys of one account, on our server or on Cloudflare's."""

import os
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from millrace.bindings import Env
from millrace.client.address import DEFAULT_URL, server_of
from millrace.client.answers import read_answer
from millrace.client.environment import Named, names_of, queue_named_by, read_names
from millrace.client.objects import KeyList, KeyObject, Object, Revoked, SqlAnswer, key_of
from millrace.client.retries import Retries
from millrace.client.sync_bindings import QueueBinding
from millrace.client.sync_calls import Calls, Chance, Sleep
from millrace.client.sync_lookup import Lookup
from millrace.client.sync_messages import Messages
from millrace.client.sync_queues import Queues
from millrace.client.wire import given, quoted
from millrace.handlers.asking import Binding
from millrace.message import Backlog, Outgoing
from millrace.wrangler.file import WranglerFile

T = TypeVar("T")

ANSWER_SECONDS = 60
RETRIES = Retries()


class Client(Queues, Messages, Binding):
    """One server, one key, one account. Queues are named by name or by id.

    Calls are made again when the connection failed, the server was busy or had an error of its own (`Retries`).
    A send carries an idempotency key, so that our server stores it once, however often it was made.

    All methods raise:
        ServerUnreachable: the server cannot be reached, or the connection broke before its answer came.
        Unauthenticated, Forbidden: the key is refused.
        MillraceError: the server refuses for another reason; the nearest class there is, with its status and code.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        token: str | None = None,
        *,
        account_id: str | None = None,
        retries: Retries = RETRIES,
        timeout_seconds: float = ANSWER_SECONDS,
        chance: Chance = random.random,
        sleep: Sleep = time.sleep,
    ) -> None:
        calls = Calls(
            url, token, account_id, retries=retries, timeout_seconds=timeout_seconds, chance=chance, sleep=sleep
        )
        lookup = Lookup(calls)
        Queues.__init__(self, calls, lookup)
        Messages.__init__(self, lookup, timeout_seconds)

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, *, url: str | None = None, token: str | None = None, **more: Any
    ) -> Self:
        """Make a client of what is given, else of MILLRACE_URL and MILLRACE_TOKEN, else CTX_URL and CHITTY_ID_TOKEN."""
        # A client is made by other people's programs, which no config.py has read the environment for.
        return cls(*server_of(os.environ if environ is None else environ, url, token), **more)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()

    def account_id(self) -> str:
        """Give the account: the one that was named, else the key's own."""
        return self._calls.account_id()

    def call_v4(self, method: str, path: str, body: object = None, *, type: type[T], **more: Any) -> T:
        """Call any route below the account, such as `/queues`, and give its result as a value of a type.

        `body` becomes JSON; bytes go as they are. `params`, `headers`, `timeout` (seconds) and `once` (it must not
        happen twice) may be given, too.
        """
        return (self._calls.v4(method, path, body, type=type, **more)).result

    def ask(self, method: str, path: str, body: object = None, **more: Any) -> Any:
        """Call any other route of the server, such as `/api/audit`, and give its JSON answer; `more` as in `call_v4`."""
        return read_answer(self._calls.call(method, path, body, **more), Any)

    def sql(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> SqlAnswer:
        """Run one SELECT over the published views of the account; the key must be an admin's."""
        body = {"sql": sql, "params": params}
        return read_answer(self._calls.call("POST", "/api/sql", body), SqlAnswer)

    def create_key(
        self,
        role: str,
        *,
        account: str | None = None,
        queues: Iterable[str] | None = None,
        tenant: str | None = None,
        secret: str | None = None,
        is_test: bool = False,
    ) -> KeyObject:
        """Make a key; its secret is in the answer, this once."""
        body = given(account=account, queues=list(queues) if queues else None, tenant=tenant, secret=secret)
        answer = self._calls.call("POST", "/api/keys", {"role": role, "test": is_test, **body}, once=True)
        return key_of(read_answer(answer, Object))

    def keys(self) -> list[KeyObject]:
        """List the account's keys, without their secrets."""
        found = read_answer(self._calls.call("GET", "/api/keys"), KeyList)
        return [key_of(key) for key in found.keys]

    def revoke_key(self, key_id: str) -> None:
        """Have a key refused from now on."""
        read_answer(self._calls.call("DELETE", f"/api/keys/{quoted(key_id)}"), Revoked)

    def bindings(
        self,
        queues: Mapping[str, str] | None = None,
        *,
        file: WranglerFile | None = None,
        environment: str | None = None,
    ) -> Env:
        """Give queues as attributes, such as `env.EVENT_QUEUE`.

        Args:
            queues: Queue names by binding name. Without them, a wrangler file says them, and variables beside them.
            file: That file, read already. Without it, the one of this folder or of the nearest folder above that has
                one is read; where there is none, EVENT_QUEUE stands for event-queue, and so on.
            environment: The environment of the file that is read.

        Raises:
            ConfigurationError: the file is wrong.
        """
        if queues is not None:
            named = Named(dict(queues), {})
        else:
            named = read_names(Path.cwd(), environment) if file is None else names_of(file)
        made = {name: self._binding(queue) for name, queue in (named.queues or {}).items()}
        # `_client` is for producers of applications, which have routes of their own.
        bound = {**named.variables, **made, "_client": self}
        return Env(bound, self._binding_named if named.queues is None else None)

    def _binding(self, queue: str) -> QueueBinding:
        def send(messages: list[Outgoing], delay_seconds: float | None) -> Backlog:
            if len(messages) == 1 and delay_seconds is None:
                return self.send_outgoing(queue, messages[0])
            return self.send_parts(queue, messages, delay_seconds)

        def metrics() -> Backlog:
            return self.metrics(queue)

        return QueueBinding(send, metrics)

    def _binding_named(self, name: str) -> QueueBinding | None:
        queue = queue_named_by(name)
        return None if queue is None else self._binding(queue)
