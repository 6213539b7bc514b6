"""The old client of Cloudflare Queues for agents: deprecated, kept for those who move."""

import warnings
from collections.abc import Iterable
from typing import Self

from millrace.client.deliveries import Delivery, Settled
from millrace.client.retries import Retries
from millrace.client.synchronous import Client

CLOUDFLARE = "https://api.cloudflare.com/client/v4"
RETRIES = Retries(count=6, total_seconds=30)
INSTEAD = "CloudflareQueue is deprecated; use millrace.edge_jobs.EdgeJobClient, or millrace.Client for any queue"


class CloudflareQueue:
    """One queue behind Cloudflare's pull API: at Cloudflare, or with another `base_url` at any server that speaks it.

    Deprecated: `EdgeJobClient` takes jobs, and `Client` has all of this API.
    """

    def __init__(
        self,
        account_id: str,
        queue_id: str,
        api_token: str,
        base_url: str = CLOUDFLARE,
        *,
        retries: Retries = RETRIES,
    ) -> None:
        warnings.warn(INSTEAD, DeprecationWarning, stacklevel=2)
        self._client = Client(base_url, api_token, account_id=account_id, retries=retries)
        self._queue_id = queue_id

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def pull(self, batch_size: int = 10, visibility_timeout_ms: int = 60_000) -> list[Delivery]:
        """Take at most `batch_size` messages, 1 to 100, under leases of that length."""
        return self._client.receive(self._queue_id, batch_size, visibility_timeout_ms)

    def ack(
        self, acks: Iterable[str] = (), retries: Iterable[str] = (), retry_delay_seconds: int | None = None
    ) -> Settled:
        """Settle lease ids: what is done, and what is to be delivered again, after a delay if one is given."""
        return self._client.settle(self._queue_id, acks, retries, delay_seconds=retry_delay_seconds)
