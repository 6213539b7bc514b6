"""Messages: sent, received, settled and looked at."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Unpack

from millrace import limits
from millrace.bindings import SendOptions, make_outgoing, read_outgoing
from millrace.client.async_lookup import AsyncLookup
from millrace.client.deliveries import (
    Cancelled,
    Delivery,
    Discarded,
    Extended,
    ExtendedCount,
    Leased,
    Metrics,
    Peeked,
    PeekedPage,
    Pulled,
    Pushed,
    Sent,
    Settled,
    SettledCounts,
    backlog_of,
    delivery_of,
    peeked_of,
    sent_of,
    settled_of,
    warnings_of,
)
from millrace.client.objects import Object
from millrace.client.wire import (
    at_ms,
    delay,
    given,
    lease_id,
    leases_object,
    message_object,
    new_key,
    part_key,
    parts_of,
    several,
)
from millrace.errors import MillraceError
from millrace.message import Backlog, Outgoing

PUSHED: Any = Pushed | None  # a server may answer a send with nothing but success


class AsyncMessages:
    """What a client can do with messages."""

    def __init__(self, lookup: AsyncLookup, timeout_seconds: float) -> None:
        self._lookup, self._timeout_seconds = lookup, timeout_seconds

    async def send(
        self,
        queue: str,
        body: object,
        content_type: str = "json",
        delay_seconds: float | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[SendOptions],
    ) -> Sent:
        """Send a message; it is on disk when this returns.

        Args:
            queue: Where to.
            body: A JSON value, a string (text) or bytes (bytes, v8).
            content_type: json, text, bytes or v8.
            delay_seconds: How long it waits, 0 to 86,400; None is the queue's own delay.
            idempotency_key: 1 to 255 printable ASCII characters that stand for this send. Our server stores it once
                within a day.
            options: `send_at`, `priority`, `ordering_key`, `dedupe_key`, `headers`; Cloudflare has none of them.

        Raises:
            InvalidMessage, MessageTooLarge: this message cannot be sent.
            BacklogFull, Overloaded, StoreUnavailable: the queue cannot take it now.
        """
        message = make_outgoing(body, content_type, delay_seconds, **options)
        return await self.send_outgoing(queue, message, idempotency_key)

    async def send_batch(
        self,
        queue: str,
        messages: Iterable[Mapping[str, Any]],
        delay_seconds: float | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> Backlog:
        """Send any number of messages in their order, in parts of at most 100 messages and 256,000 bytes of bodies.

        Each part is stored as a whole or not at all. An error has in `sent` how many were stored before it.

        Args:
            queue: Where to.
            messages: Mappings with `body` and perhaps what else `send` takes; all are looked at first.
            delay_seconds: For those that have none of their own.
            idempotency_key: As for `send`; further parts have keys that are made from it.
        """
        outgoing = [read_outgoing(message) for message in messages]
        return await self.send_parts(queue, outgoing, delay_seconds, idempotency_key)

    async def receive(
        self,
        queue: str,
        batch_size: int | None = None,
        visibility_timeout_ms: int | None = None,
        wait_seconds: float | None = None,
    ) -> list[Delivery]:
        """Take ready messages under leases.

        Args:
            queue: A queue with a consumer of type http_pull.
            batch_size: At most so many, 1 to 100; None is what the consumer says.
            visibility_timeout_ms: How long the leases last; None is what the consumer says.
            wait_seconds: How long our server waits for a first message, 0 to 20. Cloudflare answers at once.

        Raises:
            PullNotEnabled, DeliveryPaused: nothing is taken.
        """
        body = given(batch_size=batch_size, visibility_timeout_ms=visibility_timeout_ms, wait_seconds=wait_seconds)
        timeout = self._timeout_seconds + (wait_seconds or 0)
        found = await self._lookup.call("POST", queue, "/messages/pull", body, type=Pulled, timeout=timeout)
        return [delivery_of(message) for message in found.messages]

    async def settle(
        self,
        queue: str,
        acks: Iterable[Leased] = (),
        retries: Iterable[Leased | tuple[Leased, float | None]] = (),
        *,
        rejects: Iterable[tuple[Leased, str]] = (),
        delay_seconds: float | None = None,
    ) -> Settled:
        """Settle leases: what is done, what is to be delivered again, what no delivery can help.

        Args:
            queue: The queue they were received from.
            acks: Deliveries, or their lease ids.
            retries: The same, or pairs of one and the seconds that it waits.
            rejects: Pairs of a delivery or lease id and the reason; they become dead letters. Cloudflare has none.
            delay_seconds: For retries without one of their own; None is what the queue's consumer says.
        """
        body = leases_object(acks, retries, rejects, delay_seconds)
        return settled_of(await self._lookup.call("POST", queue, "/messages/ack", body, type=SettledCounts))

    async def extend(self, queue: str, leases: Iterable[Leased], visibility_timeout_ms: int) -> Extended:
        """Let leases end so many milliseconds from now, while the work goes on. Cloudflare has no such call."""
        body = {
            "lease_ids": [lease_id(lease) for lease in several("leases", leases)],
            "visibility_timeout_ms": visibility_timeout_ms,
        }
        found = await self._lookup.call("POST", queue, "/messages/extend", body, type=ExtendedCount)
        return Extended(found.extended, warnings_of(found.warnings))

    async def peek(self, queue: str, limit: int | None = None) -> AsyncIterator[Peeked]:
        """Go through waiting, delayed and leased messages, oldest first, without taking them.

        `limit` ends it; without one it goes to the end on our server, and to the end of the first page on Cloudflare's.
        """
        cursor, left = None, limit
        while left is None or left > 0:
            size = limits.PEEK_MESSAGES if left is None else min(left, limits.PEEK_MESSAGES)
            body = {"batch_size": size, **given(cursor=cursor)}
            page = await self._lookup.call("POST", queue, "/messages/peek", body, type=PeekedPage)
            for message in page.messages:
                yield peeked_of(message)
            cursor, left = page.cursor, None if left is None else left - len(page.messages)
            if cursor is None:
                return

    async def discard(self, queue: str, refs: Iterable[str]) -> dict[str, str]:
        """Delete chosen messages for good, by the refs of `peek`; give a warning for each ref that named none."""
        body = {"refs": [{"ref": ref} for ref in several("refs", refs)]}
        return warnings_of((await self._lookup.call("POST", queue, "/messages/purge", body, type=Discarded)).warnings)

    async def cancel(self, queue: str, refs: Iterable[str]) -> dict[str, str]:
        """Take back messages whose time has not come, by their refs; give a warning for each ref that named none.

        A ref comes from `send` with a time, and from `peek`. Cloudflare has no such call, nor the next.
        """
        body = {"refs": list(several("refs", refs))}
        return (await self._lookup.call("POST", queue, "/messages/cancel", body, type=Cancelled)).warnings

    async def reschedule(self, queue: str, ref: str, send_at: datetime) -> None:
        """Give a message whose time has not come another time, which has a time zone.

        Raises:
            NotScheduled: its time has come, it was delivered before, or it is gone.
        """
        body = {"ref": ref, "send_at": at_ms("send_at", send_at)}
        await self._lookup.call("POST", queue, "/messages/reschedule", body, type=Object)

    async def metrics(self, queue: str) -> Backlog:
        """Count a queue's backlog."""
        return backlog_of(await self._lookup.call("GET", queue, "/metrics", type=Metrics))

    async def send_outgoing(self, queue: str, message: Outgoing, idempotency_key: str | None = None) -> Sent:
        """Send a message that is written already."""
        return await self._push(queue, "", message_object(message), new_key(idempotency_key))

    async def send_parts(
        self,
        queue: str,
        messages: Sequence[Outgoing],
        delay_seconds: float | None = None,
        idempotency_key: str | None = None,
    ) -> Backlog:
        """Send messages that are written already, in parts."""
        backlog: Backlog | None = None
        sent, key = 0, new_key(idempotency_key)
        for part, chosen in enumerate(parts_of(messages), 1):
            body = {"messages": [message_object(message) for message in chosen], **delay(delay_seconds)}
            try:
                backlog = await self._push(queue, "/batch", body, part_key(key, part))
            except MillraceError as error:
                error.sent = sent
                raise
            sent += len(chosen)
        return backlog or await self.metrics(queue)

    async def _push(self, queue: str, path: str, body: Object, key: str) -> Sent:
        headers = {"Idempotency-Key": key}
        return sent_of(await self._lookup.call("POST", queue, f"/messages{path}", body, type=PUSHED, headers=headers))
