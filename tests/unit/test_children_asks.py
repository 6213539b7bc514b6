"""Bindings beside queues in processes of their own: what is asked for, and what cannot be carried."""

from pathlib import Path

from millrace.errors import InvalidInput
from millrace.handlers.asking import answering
from millrace.runtime.children import Children
from millrace.runtime.frames import FRAME_BYTES, Program
from millrace.telemetry import Telemetry
from tests.unit.batches import batch

HANDLERS = """
def handle(batch, env):
    for message in batch.messages:
        try:
            value = env.KV.put("given", complex(1)) if message.body == "bad" else env.KV.get(message.body)
        except Exception as error:
            value = f"{type(error).__name__}: {error}"
        message.reject(str(value)[:60])
"""


async def get(key: str, type: str) -> tuple[object, object]:
    if key == "wrong":
        raise InvalidInput("no such key")
    if key == "huge":
        return 10**30, None
    return ("x" * FRAME_BYTES if key == "large" else f"value of {key}"), None


async def put(**arguments: object) -> None:
    raise AssertionError("it cannot be carried here")


async def test_calls_are_answered_or_refused_where_they_were_made(tmp_path: Path) -> None:
    (tmp_path / "handlers.py").write_text(HANDLERS)
    program = Program(folder=str(tmp_path), handlers={"q": "handlers.py:handle"}, others={"KV": "kv"})
    children = Children(program, {}, Telemetry(), size=1, asks={"KV": answering(get=get, put=put)})
    held = batch(b'"a"', b'"wrong"', b'"large"', b'"bad"', b'"huge"')
    await children.start()
    try:
        await children.call(held, None)
    finally:
        await children.stop()

    reasons = [message.outcome.reason for message in held.messages]
    assert reasons[:2] == ["value of a", "InvalidInput: no such key"]
    assert reasons[2].startswith("TooLarge: the answer is too large")
    assert reasons[3].startswith("InvalidInput: what put is given cannot be sent")
    assert reasons[4].startswith("InvalidInput: the answer cannot be carried to a handler")
