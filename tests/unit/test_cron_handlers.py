"""Handlers of crons: plain functions and Python Workers, and what a file and a program say about them."""

import sys
import textwrap
from datetime import UTC, datetime

import pytest

from millrace.bindings import Env
from millrace.cli.check import check_file
from millrace.cli.handlers import program_of, refusal_of
from millrace.cli.plan import plan
from millrace.cli.scheduling import plan_crons
from millrace.cli.triggers import queue_need, queue_of_program
from millrace.consumer import make_consumer
from millrace.errors import ConfigurationError, InvalidQueueName
from millrace.handlers import PermanentError, RetryLater
from millrace.handlers.scheduled import as_scheduled_call
from millrace.platform import App, Cron
from millrace.programs import load_module
from millrace.python_workers import install, scheduled_handler_of
from millrace.queue import Queue
from millrace.settlement import Ack, Reject, Retry
from tests.unit.batches import batch
from tests.unit.wrangler_files import problems, read_toml, warnings

RUN = b'{"cron":"0 3 * * sun","scheduled_time_ms":1767495600000}'
CRONS = '[triggers]\ncrons = ["0 3 * * sun"]\n'


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    """Leave the modules, and where they are looked for, as they were."""
    known = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield
    for name in set(sys.modules) - known:
        if name in ("worker", "workers"):
            del sys.modules[name]


def worker(folder, text):
    install()
    (folder / "worker.py").write_text("from workers import WorkerEntrypoint\n" + textwrap.dedent(text))
    return as_scheduled_call(scheduled_handler_of(load_module(folder / "worker.py")))


async def test_a_function_is_called_with_what_is_due():
    seen = []
    held = batch(RUN)

    async def tidy(controller, env, ctx):
        seen.append((controller.cron, controller.scheduled_time, controller.scheduled_time_ms, controller.type))
        seen.append((controller.attempts, env.SHOP))

    await as_scheduled_call(tidy)(held, Env({"SHOP": "mine"}))

    due_at = datetime(2026, 1, 4, 3, tzinfo=UTC)
    assert seen == [("0 3 * * sun", due_at, 1_767_495_600_000, "scheduled"), (1, "mine")]
    assert held.outcomes(Retry()) == [Ack()]


async def test_a_plain_function_with_one_parameter_will_do():
    seen = []

    await as_scheduled_call(lambda controller: seen.append(controller.cron))(batch(RUN), None)

    assert seen == ["0 3 * * sun"]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ValueError("x"), Retry(reason="ValueError")),
        (RetryLater(7), Retry(7)),
        (PermanentError("never"), Reject("never")),
    ],
)
async def test_a_run_that_raises_is_tried_again_as_any_message(error, outcome):
    held = batch(RUN)

    async def fail(controller):
        raise error

    await as_scheduled_call(fail)(held, None)

    assert held.outcomes(Ack()) == [outcome]
    assert [failure for _, failure in held.failures] == [error]


async def test_a_run_that_is_not_to_be_retried_is_buried_when_it_fails():
    held = batch(RUN)

    async def fail(controller):
        controller.no_retry()
        raise ValueError("x")

    await as_scheduled_call(fail)(held, None)

    assert held.outcomes(Ack()) == [Reject("ValueError")]


async def test_what_is_no_run_is_rejected_without_calling_anybody():
    held = batch(b'{"cron":1}', b"[]")

    await as_scheduled_call(lambda controller: 1 / 0)(held, None)

    assert held.outcomes(Ack()) == [Reject("this is no run of a cron")] * 2


def test_a_function_that_cannot_be_called_so_is_refused():
    with pytest.raises(ConfigurationError, match=r"expected \(controller\), \(controller, env\)"):
        as_scheduled_call(lambda: None)


async def test_the_scheduled_method_of_a_python_worker_is_called_as_at_cloudflare(tmp_path):
    call = worker(
        tmp_path,
        """
        class Default(WorkerEntrypoint):
            async def scheduled(self, controller, env, ctx):
                assert (controller.cron, controller.type) == ("0 3 * * sun", "scheduled")
                assert controller.scheduledTime == controller.scheduled_time == 1767495600000
                assert env.SHOP == self.env.SHOP == "mine"
                controller.noRetry()
                raise ValueError("seen")
        """,
    )
    held = batch(RUN)

    await call(held, Env({"SHOP": "mine"}))

    assert held.outcomes(Ack()) == [Reject("ValueError")]
    assert [str(failure) for _, failure in held.failures] == ["seen"]


async def test_older_workers_have_a_function_on_scheduled(tmp_path):
    call = worker(
        tmp_path,
        """
        async def on_scheduled(controller):
            raise ValueError(controller.cron)
        """,
    )
    held = batch(RUN)

    await call(held, None)

    assert [str(failure) for _, failure in held.failures] == ["0 3 * * sun"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "class Default(WorkerEntrypoint):\n    async def queue(self, batch): ...\n",
            "has no handler of crons; expected",
        ),
        (
            "class A(WorkerEntrypoint):\n    def scheduled(self, c): ...\nclass B(A): ...\n",
            "has several scheduled handlers: A, B; name one of them Default",
        ),
        ("def on_scheduled(): ...\n", "handler on_scheduled takes (); expected (controller), (controller, env)"),
    ],
)
def test_a_worker_without_a_handler_of_crons_is_refused(tmp_path, text, sentence):
    with pytest.raises(ConfigurationError) as refused:
        worker(tmp_path, text)

    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("triggers", "problem"),
    [
        ({"scheduled": 1}, 'The field "triggers.scheduled" should be a string but got 1.'),
        (
            {"scheduled": "tidy"},
            '"triggers.scheduled" has an invalid value "tidy". Expected "module:function" or "path.py:function".',
        ),
    ],
)
def test_a_scheduled_key_that_names_no_function_is_refused(tmp_path, triggers, problem):
    assert problems(tmp_path, {"triggers": triggers}) == [problem]


def test_a_cron_that_is_none_is_refused_with_its_place(tmp_path):
    file = read_toml(tmp_path, 'name = "a"\n[triggers]\ncrons = [\n  "* * * * *",\n  "61 * * * *",\n]\n')

    with pytest.raises(ConfigurationError) as refused:
        check_file(file, {})

    assert str(refused.value) == (
        f"{file.path}:5: \"triggers.crons[1]\": the minute of a cron is '61'; expected 0 to 59, with * , - /"
    )


def test_a_file_says_who_handles_its_crons(tmp_path):
    named = read_toml(tmp_path, f'name = "my_shop"\n{CRONS}scheduled = "jobs.py:tidy"\n')
    by_worker = read_toml(tmp_path, f'main = "worker.py"\n{CRONS}')
    by_nobody = read_toml(tmp_path, f'main = "worker.js"\n{CRONS}')

    programs = [program_of(file) for file in (named, by_worker, by_nobody)]

    assert (programs[0].crons_queue, programs[0].scheduled, programs[0].main) == ("crons-my-shop", "jobs.py:tidy", None)
    assert (programs[1].crons_queue, programs[1].scheduled, programs[1].main) == ("crons-local", None, "worker.py")
    assert (programs[2], warnings(named)) == (None, [])


def test_a_handler_of_crons_that_cannot_be_loaded_is_refused_where_it_is_named(tmp_path):
    named = read_toml(tmp_path, f'{CRONS}scheduled = "jobs.py:tidy"\n')
    by_worker = read_toml(tmp_path, f'main = "worker.py"\n{CRONS}')

    refusals = [str(refusal_of(file, "crons-local", "no good")) for file in (named, by_worker)]

    assert refusals == [
        f'{named.path}:3: "triggers.scheduled": no good',
        f'{by_worker.path}:3: "triggers.crons": no good',
    ]


async def act(platform, account_id): ...


def test_applications_have_their_crons_in_every_account_and_a_program_in_its_own():
    application = App(crons=(Cron(name="sweep", expression="*/10 * * * *", act=act),))
    program = App(crons=(Cron(name="tidy_up", expression="0 3 * * sun", act=act),))

    crons = plan_crons("a", None, program, [application], ["a", "b"])

    assert [(trigger.account_id, trigger.queue) for trigger in crons.triggers] == [
        ("a", "crons-sweep"),
        ("b", "crons-sweep"),
        ("a", "crons-tidy-up"),
    ]


def test_a_cron_without_an_expression_follows_those_of_a_file_that_has_no_handler_for_them(tmp_path):
    program = App(crons=(Cron(name="sweep", expression="", act=act),))
    free = read_toml(tmp_path, CRONS)
    taken = read_toml(tmp_path, f'{CRONS}scheduled = "jobs.py:tidy"\n')

    found = [plan_crons("a", file, program, [], ["a"]).triggers for file in (None, free, taken)]

    assert [[trigger.key for trigger in triggers] for triggers in found] == [
        [],
        [("a", "sweep", "0 3 * * sun")],
        [("a", "local", "0 3 * * sun")],
    ]


def test_a_cron_that_nothing_makes_due_leaves_its_name_to_others(tmp_path):
    idle = App(crons=(Cron(name="shop", expression="", act=act),))
    file = read_toml(tmp_path, f'name = "shop"\n{CRONS}scheduled = "jobs.py:tidy"\n')

    assert [trigger.program for trigger in plan_crons("a", file, idle, [], ["a"]).triggers] == ["shop"]


@pytest.mark.parametrize(
    ("names", "expression", "sentence"),
    [
        (("sweep",), "* * * *", "cron 'sweep': cron '* * * *' has 4 fields"),
        (
            ("Sweep",),
            "* * * * *",
            "cron 'Sweep': name is 'Sweep', whose crons need a queue; Queue name 'crons-Sweep-dlq'",
        ),
        (("a-b", "a_b"), "* * * * *", "two programs with crons are called 'a-b'; give one of them another name"),
    ],
)
def test_a_wrong_cron_of_a_program_stops_the_start(names, expression, sentence):
    program = App(crons=tuple(Cron(name=name, expression=expression, act=act) for name in names))

    with pytest.raises(ConfigurationError) as refused:
        plan_crons("a", None, program, [], ["a"])

    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize("name", ["shop", "crons", "local"])
def test_no_file_detaches_the_consumers_of_crons(tmp_path, name):
    given = queue_need("crons-shop", one_at_a_time=False).consumer
    consumer = make_consumer(id="1", queue_name="crons-shop", now_ms=0, **given)
    queue = Queue(id="1", account_id="a", name="crons-shop", created_at_ms=0, modified_at_ms=0, consumer=consumer)

    assert plan(read_toml(tmp_path, f'name = "{name}"\n'), [queue], {}) == ()


def test_a_name_must_leave_room_for_the_queues_of_its_crons():
    assert queue_of_program("a" * 53) == "crons-" + "a" * 53
    with pytest.raises(InvalidQueueName, match="expected 1 to 63 lower-case letters"):
        queue_of_program("a" * 54)
