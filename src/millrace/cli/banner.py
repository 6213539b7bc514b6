"""What a person reads who has just started the server."""

import sys
from collections.abc import Sequence

from millrace import __version__
from millrace.config import Settings
from millrace.queue import Queue

OURS = ("workflow-", "crons-")  # their messages are made by the server


class Banner:
    """Where the server is, the key if it is new, and a line to try."""

    def __init__(
        self,
        settings: Settings,
        place: str,
        address: str,
        fed: Sequence[Queue],
        new_secret: str | None,
        *,
        show_key: bool,
    ) -> None:
        self._settings, self._place, self._address, self._fed = settings, place, address, fed
        self._new_secret, self._show_key = new_secret, show_key

    def __call__(self) -> None:
        """Print where the server is, the key if it is new, and a line to try."""
        secret = self._new_secret
        print(f"\nMillrace {__version__} serves {self._place} on {self._address}", file=sys.stderr)
        if secret:
            print(
                f"Admin key of account '{self._settings.account_id}', shown this once:\n\n    {secret}\n",
                file=sys.stderr,
            )
        elif self._show_key and self._settings.admin_token:
            secret = self._settings.admin_token
            print(f"Admin key of account '{self._settings.account_id}':\n\n    {secret}\n", file=sys.stderr)
        if self._settings.role == "consumer":
            print("It runs handlers, and answers health and metrics only.\n", file=sys.stderr, flush=True)
            return
        print(f"Send something:\n\n    {self._example(secret or '$MILLRACE_TOKEN')}\n", file=sys.stderr, flush=True)

    def _example(self, secret: str) -> str:
        fed = [queue for queue in self._fed if not queue.name.startswith(OURS)]
        if fed:
            path = f"/client/v4/accounts/{self._settings.account_id}/queues/{fed[0].id}/messages"
            body = '{"body": {"name": "world"}}'
        else:
            path, body = "/events", '{"payload": {"hello": "world"}}'
        quote = '"' if secret.startswith("$") else "'"
        return f"curl {self._address}{path} -H {quote}Authorization: Bearer {secret}{quote} -d '{body}'"
