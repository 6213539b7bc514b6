"""The watchdog: who blocks the loop is told of while it does."""

import asyncio
import time
from typing import Any

import pytest

from millrace.batch import MessageBatch
from millrace.handlers import Context, Handler, as_call, each
from millrace.runtime import watchdog
from millrace.telemetry import Telemetry
from tests.unit.batches import batch as a_batch

BLOCK_SECONDS = 0.2


async def blocks(given: Any) -> None:
    _slow()


async def blocks_with_what_is_left_behind(batch: MessageBatch, env: Any, ctx: Context) -> None:
    ctx.wait_until(blocks(batch))


def in_a_thread(batch: MessageBatch) -> None:
    time.sleep(BLOCK_SECONDS)


async def waits(batch: MessageBatch) -> None:
    await asyncio.sleep(BLOCK_SECONDS)


def _slow() -> None:
    time.sleep(BLOCK_SECONDS)


@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (blocks, ["test_watchdog.blocks"]),
        (each(blocks), ["test_watchdog.blocks"]),
        (blocks_with_what_is_left_behind, ["test_watchdog.blocks"]),
        (in_a_thread, []),
        (waits, []),
    ],
)
async def test_a_handler_that_blocks_the_loop_is_told_of_by_its_name(
    handler: Handler, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(watchdog, "BLOCKED_SECONDS", 0.05)
    events: list[str] = []
    telemetry = Telemetry()
    telemetry.subscribe(lambda _, fields: events.append(fields["handler"]), "loop.blocked")
    dog = watchdog.Watchdog(telemetry)
    await asyncio.sleep(0)

    await as_call(handler)(a_batch(), None)

    dog.stop()
    assert events == told
