"""The official Python SDK against a server of the tests."""

import time
from typing import Any

import cloudflare

from tests.support import Server

ACCOUNT = "local"
PULL_SECONDS = 10


def new_client(server: Server, requests: list[str], token: str | None = None) -> cloudflare.Cloudflare:
    """Give a client that notes in `requests` what it asks, retries included."""
    hooks = {"request": [lambda request: requests.append(f"{request.method} {request.url.path}")]}
    return cloudflare.Cloudflare(
        api_token=token or server.key,
        base_url=f"{server.url}/client/v4",
        http_client=cloudflare.DefaultHttpxClient(event_hooks=hooks),
    )


def pull(client: cloudflare.Cloudflare, queue_id: str, **arguments: Any) -> list[Any]:
    return client.queues.messages.pull(queue_id, account_id=ACCOUNT, **arguments).messages


def pull_one_in_time(client: cloudflare.Cloudflare, queue_id: str) -> Any:
    until = time.monotonic() + PULL_SECONDS
    while not (found := pull(client, queue_id, batch_size=1)):
        assert time.monotonic() < until, "no message became ready"
        time.sleep(0.05)
    return found[0]
