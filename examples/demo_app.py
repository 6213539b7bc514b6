"""The program that `make demo` serves: a small shop. It notes every delivery in a queue of its own.

millrace serve --config examples/demo.toml --app examples/demo_app.py:app
"""

from typing import Any

from millrace import App, MessageBatch, PermanentError

STOCK = {"tea", "coffee"}


async def read_events(batch: MessageBatch, env: Any) -> None:
    """Take note of each event."""
    for message in batch.messages:
        event: Any = message.body
        await _note(env, event["payload"]["name"], message.attempts, "handled")


async def fill_orders(batch: MessageBatch, env: Any) -> None:
    """Fill the one order of the batch. What is raised here decides about another delivery."""
    [message] = batch.messages
    order: Any = message.body
    try:
        _fill(order, message.attempts)
    except Exception as error:
        await _note(env, order["name"], message.attempts, f"failed: {error}")
        raise
    await _note(env, order["name"], message.attempts, "handled")


async def take_supplies(batch: MessageBatch, env: Any) -> None:
    """Put what arrives on the shelf."""
    for message in batch.messages:
        supply: Any = message.body
        STOCK.add(supply["item"])
        await _note(env, supply["name"], message.attempts, "handled")


def _fill(order: dict[str, Any], attempt: int) -> None:
    if order["item"] not in STOCK:
        raise PermanentError(f"no {order['item']} in stock")
    if attempt <= order.get("failures", 0):
        raise ConnectionError("the till does not answer")


async def _note(env: Any, name: str, attempt: int, result: str) -> None:
    await env.DELIVERIES.send({"name": name, "attempt": attempt, "result": result})


app = App(handlers={"event-queue": read_events, "orders": fill_orders, "supplies": take_supplies})
