"""Handlers in processes of their own: real ones, which send, fail, hang, leak and die."""

import asyncio
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from millrace.batch import MessageBatch
from millrace.errors import BacklogFull
from millrace.handlers import PermanentError, RetryLater, outcome_of
from millrace.message import Backlog, Lease, Message, Outgoing
from millrace.runtime import children as pool
from millrace.runtime.children import Children, pause_seconds
from millrace.runtime.faults import HandlerDied, HandlerError
from millrace.runtime.frames import Program
from millrace.runtime.process import ProgramFailed, start_process
from millrace.settlement import Ack, Postpone, Reject, Retry
from millrace.telemetry import Telemetry

pytestmark = pytest.mark.asyncio(loop_scope="module")

HANDLERS = """
import asyncio, ctypes, multiprocessing, os, subprocess, tempfile, threading
from millrace.handlers import PermanentError, RetryLater, each

async def mixed(batch):
    first, second, third, _ = batch.messages
    first.ack()
    second.retry(delay_seconds=5)
    third.reject("no use")

async def broken(batch):
    batch.messages[0].ack()
    raise ValueError("a text with \\ud800 in it")

async def permanent(batch):
    raise PermanentError("gone for good")

async def later(batch):
    raise RetryLater(7)

class Later(RetryLater):
    def __init__(self): ...

async def later_some_time(batch):
    raise Later

async def forking(batch):
    os.fork()

def ending_a_fork(batch):
    fork = multiprocessing.get_context("fork").Process(target=threading.Event().wait)
    fork.start()
    fork.terminate()
    fork.join()

async def all_again(batch):
    batch.retry_all(delay_seconds=3)

async def leaving(batch):
    exit(3)

async def one(message):
    if message.body == 1:
        raise OSError("no network")
one_by_one = each(one)

async def sending(batch, env):
    await env.OUT.send({"name": env.NAME}, delay_seconds=9)

def sending_in_a_thread(batch, env, ctx):
    env.OUT.send("waited for")
    asyncio.run(sending_in_a_loop(env))

async def sending_in_a_loop(env):
    await env.OUT.send("from a loop of its own")

async def counting(batch, env):
    backlog = await env.OUT.metrics()
    await env.OUT.send(backlog.count)

async def sending_too_much(batch, env):
    await env.FULL.send(1)

async def sending_a_flood(batch, env):
    await env.OUT.send("x" * 34_000_000)

async def sending_nonsense(batch, env):
    await env.OUT.send(1, delay_seconds="soon")

async def printing(batch, env):
    print("printed by a handler")

async def dying(batch):
    os._exit(7)

async def dying_after_a_start(batch, env):
    child = subprocess.Popen(["sleep", "100"])
    await env.OUT.send(child.pid)
    os._exit(7)

def crashing(batch):
    ctypes.string_at(0)

def dying_late(batch):
    batch.messages[0].ack()
    threading.Event().wait(0.4)
    os._exit(8)

async def hanging(batch, env):
    batch.messages[0].ack()
    child = subprocess.Popen(["sleep", "100"])
    await env.OUT.send([os.getpid(), child.pid])
    while True:
        pass

def waiting_for_go(batch, env, ctx):
    place = f"{tempfile.mkdtemp()}/{os.getpid()}"
    os.mkfifo(place)
    ctx.wait_until(env.OUT.send(place))
    open(place).read()

async def leaking(batch, env):
    hoard = b"x" * 200_000_000
    await env.OUT.send(len(hoard))
    await asyncio.Event().wait()

async def telling(batch, env):
    await env.OUT.send(os.getpid())
"""
NAMES = re.findall(r"^(?:async def |def )?(\w+)(?:\(batch| = each)", HANDLERS, re.MULTILINE)
PARENT = """
import asyncio, sys
from millrace.runtime.frames import Program
from millrace.runtime.process import start_process

async def main():
    process = await start_process(Program(folder=sys.argv[1], handlers={"telling": "jobs:telling"}), {})
    print(process.pid, flush=True)
    await process.end

asyncio.run(main())
"""


class House(NamedTuple):
    """A pool, what its handlers have sent, and what was told about it."""

    children: Children
    sent: asyncio.Queue[Outgoing]
    told: list[tuple[str, dict[str, Any]]]
    cannot_load: asyncio.Event

    async def told_by_a_handler(self) -> Any:
        """Wait for the next message that a handler sends, and give its JSON."""
        async with asyncio.timeout(10):
            return eval((await self.sent.get()).body)

    def events(self, name: str) -> list[dict[str, Any]]:
        return [fields for told, fields in self.told if told == name]


def build(folder: Path, names: list[str] = NAMES, *, main: str | None = None, **more: Any) -> House:
    (folder / "jobs.py").write_text(HANDLERS)
    telemetry, told, sent, cannot_load = Telemetry(), [], asyncio.Queue(), asyncio.Event()
    telemetry.subscribe(
        lambda name, fields: told.append((name, fields)),
        *("handler.died", "handler.memory", "handler.unloadable", "loop.failed"),
    )
    telemetry.subscribe(lambda *_: cannot_load.set(), "handler.unloadable")

    async def out(messages: list[Outgoing], delay_seconds: float | None) -> Backlog:
        for message in messages:
            sent.put_nowait(message)
        return Backlog(1, 2, 3)

    async def count() -> Backlog:
        return Backlog(41, 2, 3)

    async def full(messages: list[Outgoing], delay_seconds: float | None) -> Backlog:
        raise BacklogFull("the queue is full")

    program = Program(
        folder=str(folder),
        handlers={name: f"jobs:{name}" for name in names},
        main=main,
        main_queues=("orders",) if main else (),
        bindings=("OUT", "FULL"),
        variables={"NAME": "shop"},
    )
    sends, counts = {"OUT": out, "FULL": full}, {"OUT": count}
    children = Children(program, sends, telemetry, **{"size": 2, "counts": counts, **more})
    return House(children, sent, told, cannot_load)


def batch(queue: str, count: int = 2, body_bytes: int = 0) -> MessageBatch:
    messages = [
        Message(
            id=f"{n:032x}", lease=Lease(n, 1), attempts=1, failures=0, sent_at_ms=1_700_000_000_500,
            content_type="json", body=str(n).encode() + b" " * body_bytes, source="http",
        )
        for n in range(count)
    ]  # fmt: skip
    return MessageBatch(queue, messages, Backlog(count, 1, 1))


async def handled(house: House, held: MessageBatch) -> list[Any]:
    """Have a batch handled as the consumer does, and give the outcomes."""
    try:
        await house.children.call(held, None)
    except (PermanentError, RetryLater, HandlerError, HandlerDied) as error:
        return held.outcomes(outcome_of(error))
    return held.outcomes(Ack())


def let_go(place: str) -> None:
    """Have the handler `waiting_for_go` return that has told this place."""
    Path(place).write_text("go")


def is_gone(pid: int, seconds: float = 10) -> bool:
    """Wait until a process is gone; it need not be a child of this one."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A pool with one process at first, shared by the tests of this file."""
    built = build(tmp_path_factory.mktemp("program"))
    await built.children.start()
    yield built
    await built.children.stop()


@pytest.fixture
def new_house(tmp_path: Path) -> Callable[..., House]:
    return lambda *given, **more: build(tmp_path, *given, **more)


OUTCOMES = [
    ("mixed", [Ack(), Retry(5), Reject("no use"), Ack()]),
    ("broken", [Ack(), *[Retry(reason="ValueError")] * 3]),
    ("permanent", [Reject("gone for good")] * 4),
    ("later", [Retry(7)] * 4),
    ("later_some_time", [Retry()] * 4),
    ("ending_a_fork", [Ack()] * 4),
    ("all_again", [Retry(3)] * 4),
    ("leaving", [Retry(reason="RuntimeError")] * 4),
    ("one_by_one", [Ack(), Retry(reason="OSError"), Ack(), Ack()]),
    ("dying", [Retry(reason="HandlerDied")] * 4),
]


@pytest.mark.parametrize(("queue", "expected"), OUTCOMES, ids=[row[0] for row in OUTCOMES])
async def test_outcomes_are_those_of_a_handler_in_this_process(house, queue, expected):
    assert await handled(house, batch(queue, 4)) == expected


async def test_the_largest_batch_there_is_goes_through(house):
    assert await handled(house, batch("later", 100, 128_000)) == [Retry(7)] * 100


async def test_the_error_tells_where_it_was_raised(house):
    with pytest.raises(HandlerError, match=r"^ValueError: a text with \? in it") as raised:
        await house.children.call(batch("broken"), None)

    assert 'jobs.py", line' in raised.value.__notes__[0]


@pytest.mark.parametrize(("queue", "kind"), [("permanent", PermanentError), ("later", RetryLater)])
async def test_errors_with_a_meaning_stay_what_they_are(house, queue, kind):
    with pytest.raises(kind):
        await house.children.call(batch(queue), None)


async def test_the_failures_of_single_messages_are_noted_on_the_batch(house):
    held = batch("one_by_one", 3)

    await house.children.call(held, None)

    assert [(message.id, str(error)) for message, error in held.failures] == [
        (held.messages[1].id, "OSError: no network")
    ]


async def test_a_handler_sends_and_reads_variables(house):
    await house.children.call(batch("sending"), None)

    sent = house.sent.get_nowait()
    assert (sent.body, sent.delay_seconds) == (b'{"name":"shop"}', 9)


async def test_a_handler_counts_a_backlog(house):
    await house.children.call(batch("counting"), None)

    assert await house.told_by_a_handler() == 41


async def test_a_plain_function_sends_from_its_thread(house):
    await house.children.call(batch("sending_in_a_thread"), None)

    assert await house.told_by_a_handler() == "waited for"
    assert await house.told_by_a_handler() == "from a loop of its own"


@pytest.mark.parametrize(
    ("queue", "sentence"),
    [
        ("sending_too_much", "BacklogFull: the queue is full"),
        ("sending_nonsense", "InvalidMessage: .*delay_seconds"),
        ("sending_a_flood", "BatchTooLarge: the messages are too large"),
    ],
)
async def test_a_send_that_fails_raises_the_same_class_in_the_handler(house, queue, sentence):
    with pytest.raises(HandlerError, match=sentence):
        await house.children.call(batch(queue), None)


async def test_what_a_handler_prints_goes_to_standard_error(new_house, capfd):
    house = new_house()
    await house.children.start()

    await house.children.call(batch("printing"), None)
    await house.children.stop()

    assert capfd.readouterr() == ("", "printed by a handler\n")


@pytest.mark.parametrize(
    ("queue", "how"), [("dying", "ended with exit code 7"), ("crashing", f"was killed by signal {signal.SIGSEGV:d}")]
)
async def test_a_process_that_dies_fails_its_batch_and_another_one_follows(house, queue, how):
    with pytest.raises(HandlerDied, match=f"the handler's process {how}"):
        await house.children.call(batch(queue), None)

    assert house.events("handler.died")[-1]["queue"] == queue
    assert await handled(house, batch("mixed", 4)) == OUTCOMES[0][1]


async def test_what_was_acked_a_while_before_the_process_died_stays_acked(house):
    assert await handled(house, batch("dying_late")) == [Ack(), Retry(reason="HandlerDied")]


async def test_at_its_time_limit_a_handler_that_blocks_ends_with_all_it_started_and_its_acks_stay(house):
    held = batch("hanging")
    call = asyncio.create_task(house.children.call(held, None))
    pids = await house.told_by_a_handler()

    call.cancel()
    await asyncio.wait({call})

    assert call.cancelled()
    assert [message.outcome for message in held.messages] == [Ack(), None]
    assert [is_gone(pid) for pid in pids] == [True, True]


async def test_a_fork_that_comes_back_out_of_the_handler_does_not_speak_for_it(new_house):
    house = new_house(["forking"], size=1)
    await house.children.start()

    ends = [await handled(house, batch("forking")) for _ in range(5)]
    await house.children.stop()

    assert ends == [[Ack(), Ack()]] * 5
    assert house.told == []


async def test_what_a_handler_has_started_ends_with_its_process(house):
    await handled(house, batch("dying_after_a_start"))

    assert is_gone(await house.told_by_a_handler())


async def test_a_queue_that_costs_processes_takes_no_warm_one_of_another_queue(new_house):
    house = new_house(["telling", "dying"])
    await house.children.start()
    await handled(house, batch("dying"))
    await handled(house, batch("telling"))
    warm = await house.told_by_a_handler()

    await handled(house, batch("dying"))
    await handled(house, batch("telling"))

    assert await house.told_by_a_handler() == warm
    await house.children.stop()


async def test_of_those_who_wait_for_a_process_the_queue_that_has_the_fewest_goes_first(new_house):
    house = new_house(["waiting_for_go", "telling"], size=2)
    await house.children.start()
    many = [asyncio.create_task(handled(house, batch("waiting_for_go"))) for _ in range(2)]
    await asyncio.wait(many, timeout=0)
    one = asyncio.create_task(handled(house, batch("telling")))

    first, second, third = [await house.told_by_a_handler() for _ in range(3)]

    assert [type(first), type(second), type(third)] == [str, int, str]
    let_go(first)
    let_go(third)
    await asyncio.gather(one, *many)
    await house.children.stop()


async def test_a_queue_whose_handler_hangs_does_not_stop_the_other(house):
    hanging = asyncio.create_task(house.children.call(batch("hanging"), None))
    await house.told_by_a_handler()

    outcomes = [await handled(house, batch("mixed", 4)) for _ in range(3)]

    assert outcomes == [OUTCOMES[0][1]] * 3
    assert not hanging.done()
    hanging.cancel()
    await asyncio.wait({hanging})


async def test_signals_for_the_server_do_not_end_a_process(house):
    await house.children.call(batch("telling"), None)
    pid = await house.told_by_a_handler()

    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGTERM)
    await house.children.call(batch("telling"), None)

    assert await house.told_by_a_handler() == pid


async def test_a_handler_that_leaks_is_ended(new_house):
    house = new_house(memory_bytes=150_000_000)
    await house.children.start()
    call = asyncio.create_task(house.children.call(batch("leaking"), None))
    await house.told_by_a_handler()

    await house.children.tend()
    await asyncio.wait({call})

    assert "of memory; 150000000 are allowed" in str(call.exception())
    assert [fields["queue"] for fields in house.events("handler.memory")] == ["leaking"]
    assert house.events("handler.died") == []
    await house.children.stop()


async def test_a_process_that_holds_half_of_what_is_allowed_is_replaced_after_its_batch(new_house):
    house = new_house(names=["telling"], memory_bytes=50_000_000)
    await house.children.start()

    for _ in range(2):
        await house.children.call(batch("telling"), None)

    assert await house.told_by_a_handler() != await house.told_by_a_handler()
    await house.children.stop()


async def test_no_more_processes_are_started_than_allowed_and_one_stays_when_all_are_idle(new_house, monkeypatch):
    house = new_house()
    await house.children.start()
    calls = [asyncio.create_task(house.children.call(batch("waiting_for_go"), None)) for _ in range(3)]
    first, second = await house.told_by_a_handler(), await house.told_by_a_handler()
    assert house.sent.empty()

    let_go(first)
    let_go(second)
    let_go(await house.told_by_a_handler())
    await asyncio.wait(calls)
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0)
    await house.children.tend()

    assert len({Path(path).stem for path in (first, second)}) == 2
    assert len(house.children._idle) == 1
    await house.children.stop()


async def test_at_the_stop_a_batch_under_way_ends_and_one_that_waits_is_put_off_without_an_attempt(new_house):
    house = new_house(size=1)
    await house.children.start()
    held, late = batch("waiting_for_go"), batch("mixed", 4)
    under_way = asyncio.create_task(house.children.call(held, None))
    place = await house.told_by_a_handler()
    waiting = asyncio.create_task(house.children.call(late, None))

    stopping = asyncio.create_task(house.children.stop())
    await waiting
    let_go(place)
    await asyncio.wait({under_way, stopping})

    assert late.outcomes(Ack()) == [Postpone(0)] * 4
    assert under_way.exception() is None
    assert is_gone(int(Path(place).stem))
    assert await handled(house, batch("mixed")) == [Postpone(0)] * 2


async def test_a_program_that_cannot_be_loaded_any_more_costs_no_attempt(new_house, tmp_path):
    house = new_house()
    await house.children.start()
    (tmp_path / "jobs.py").write_text("1 / 0")
    await handled(house, batch("dying"))
    late, patient = batch("mixed"), batch("permanent")
    cancelled, waiting = (asyncio.create_task(house.children.call(held, None)) for held in (late, patient))
    async with asyncio.timeout(10):
        await house.cannot_load.wait()

    cancelled.cancel()
    (tmp_path / "jobs.py").write_text(HANDLERS)
    await asyncio.wait({cancelled, waiting})

    assert "ZeroDivisionError" in house.events("handler.unloadable")[0]["reason"]
    assert late.outcomes(Ack()) == [Postpone(pool.UNTRIED_SECONDS)] * 2
    assert isinstance(waiting.exception(), PermanentError)
    await house.children.stop()


async def test_the_pause_before_a_start_grows_with_each_mishap_up_to_half_a_minute():
    assert [pause_seconds(mishaps) for mishaps in (1, 2, 3, 9, 10, 10_000)] == [0.1, 0.2, 0.4, 25.6, 30, 30]


WRONG = [
    ({"handlers": {"a": "nowhere:run"}}, "a", "nowhere"),
    ({"handlers": {"a": "jobs:rum"}}, "a", "run"),
    ({"handlers": {"a": "stops.py:run"}}, "a", "SystemExit"),
    ({"handlers": {"a": "jobs:four"}}, "a", "four"),
    ({"handlers": {"b": "jobs:run", "a": "dies:run"}}, "a", "the handler's process ended with exit code 9"),
    ({"handlers": {"a": "jobs:run"}, "main": "jobs.py", "main_queues": ("b",)}, None, "queue"),
]


@pytest.mark.parametrize(("given", "key", "sentence"), WRONG, ids=[row[2] for row in WRONG])
async def test_a_program_that_cannot_be_loaded_says_which_handler_it_was(tmp_path, given, key, sentence):
    (tmp_path / "jobs.py").write_text("def run(batch): ...\ndef four(a, b, c, d): ...")
    (tmp_path / "stops.py").write_text("exit(1)")
    (tmp_path / "dies.py").write_text("import os; os._exit(9)")
    children = Children(Program(folder=str(tmp_path), **given), {}, Telemetry(), size=1)

    with pytest.raises(ProgramFailed, match=sentence) as raised:
        await children.start()

    assert raised.value.key == key


async def test_a_python_worker_runs_unchanged(new_house, tmp_path):
    worker = """
from workers import WorkerEntrypoint

class Default(WorkerEntrypoint):
    async def queue(self, batch, env, ctx):
        for message in batch.messages:
            await self.env.OUT.send({"seen": message.body, "name": env.NAME}, contentType="json", delaySeconds=4)
        batch.messages[0].retry(delaySeconds=30)
"""
    (tmp_path / "worker.py").write_text(worker)
    house = new_house(names=[], main="worker.py")
    await house.children.start()

    assert await handled(house, batch("orders")) == [Retry(30), Ack()]

    assert await house.told_by_a_handler() == {"seen": 0, "name": "shop"}
    await house.children.stop()


async def test_a_process_does_not_outlive_a_server_that_is_killed(tmp_path):
    (tmp_path / "jobs.py").write_text("def telling(batch): ...")
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(tmp_path), stdout=subprocess.PIPE)
    pid = int(await parent.stdout.readline())

    parent.kill()

    assert is_gone(pid)
    await parent.communicate()


async def test_a_process_ends_when_the_connection_does_though_its_loop_is_blocked(tmp_path):
    (tmp_path / "jobs.py").write_text("async def hang(batch):\n    while True: ...")
    process = await start_process(Program(folder=str(tmp_path), handlers={"hang": "jobs:hang"}), {})
    call = asyncio.create_task(process.call(batch("hang")))
    await asyncio.sleep(0)

    process._transport.close()

    assert await process.end == "the handler's process ended with exit code 0"
    assert isinstance((await asyncio.gather(call, return_exceptions=True))[0], HandlerDied)


async def test_a_process_that_dies_while_it_is_idle_is_replaced(new_house):
    house = new_house()
    await house.children.start()
    await house.children.call(batch("telling"), None)
    pid = await house.told_by_a_handler()
    (process,) = house.children._all

    os.kill(pid, signal.SIGKILL)
    await process.end
    await house.children.call(batch("telling"), None)

    assert await house.told_by_a_handler() != pid
    assert [fields["process"] for fields in house.events("handler.died")] == [pid]
    await house.children.stop()
