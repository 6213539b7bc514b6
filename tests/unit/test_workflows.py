"""Workflows: what is remembered, what is repeated, and who may write it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from millrace import limits
from millrace.bindings import make_outgoing
from millrace.errors import ConfigurationError, InvalidInput, StoreUnavailable, WorkflowNotFound
from millrace.handlers import PermanentError, RetryLater
from millrace.handlers.journal import Pause, StepNote
from millrace.handlers.steps import StepFailed
from millrace.handlers.workflow import workflow_handler
from millrace.workflows import instances
from millrace.workflows.queues import queue_of
from tests.unit.workflow_stage import ACCOUNT, NAME, staged


class Calls(list):
    """Notes what was called, and fails as often as it is told."""

    def step(self, name, result=None, failures=(), kind=ValueError):
        left = list(failures)

        async def act():
            self.append(name)
            if left:
                raise kind(left.pop(0))
            return result

        return act


async def test_a_workflow_runs_its_steps_in_order_and_keeps_what_it_returns(tmp_path):
    async def run(event, step):
        total = await step.do("add", lambda: event.payload["a"] + event.payload["b"])
        return {"total": await step.do("double", lambda: total * 2), "id": event.id}

    async with staged(run, tmp_path) as stage:
        instance = await stage.run({"a": 1, "b": 2})

    assert (instance.status, instance.output) == ("complete", '{"total":6,"id":"one"}')
    assert [(step.name, step.result, step.attempts) for step in instance.steps] == [("add", "3", 1), ("double", "6", 1)]


async def test_a_step_that_has_a_result_is_not_run_again_by_a_later_delivery(tmp_path):
    calls = Calls()

    async def run(event, step):
        first = await step.do("first", calls.step("first", [1, 2]))
        await step.sleep("a while", 60)
        return await step.do("second", calls.step("second", first))

    async with staged(run, tmp_path) as stage:
        waiting = await stage.run()
        too_early = await stage.deliver()
        stage.clock.advance(60)
        done = await stage.deliver()

    assert (waiting.status, too_early, done.status, done.output) == ("waiting", None, "complete", "[1,2]")
    assert calls == ["first", "second"]


async def test_a_failed_step_is_tried_again_after_its_delay_and_costs_the_message_no_attempt(tmp_path):
    call = Calls().step("call", "done", ["1", "2"])

    async def run(event, step):
        retries = {"limit": 3, "delay": "10 seconds", "backoff": "exponential"}
        return await step.do("call", call, retries=retries)

    async with staged(run, tmp_path) as stage:
        first = await stage.run()
        stage.clock.advance(10)
        second = await stage.deliver()
        stage.clock.advance(10)
        early = await stage.deliver()
        stage.clock.advance(10)
        done = await stage.deliver()

    assert (first.status, first.steps[0].error, first.steps[0].attempts) == ("waiting", "ValueError: 1", 1)
    assert (second.steps[0].attempts, early) == (2, None)
    assert (done.status, done.output, done.steps[0].attempts) == ("complete", '"done"', 3)


async def test_a_step_that_fails_for_good_ends_the_instance_and_says_why(tmp_path):
    async def run(event, step):
        await step.do("call", Calls().step("call", failures=["no such card"]), retries=0)

    async with staged(run, tmp_path) as stage:
        instance = await stage.run()
        again = await stage.deliver()

    assert (instance.status, again) == ("errored", None)
    assert instance.error == "StepFailed: step 'call' failed: ValueError: no such card"


@pytest.mark.parametrize("kind", [PermanentError, type("NonRetryableError", (Exception,), {})])
async def test_an_error_that_is_final_is_not_tried_again_and_may_be_caught(tmp_path, kind):
    async def run(event, step):
        try:
            await step.do("call", Calls().step("call", failures=["gone"], kind=kind))
        except StepFailed as error:
            return error.step

    async with staged(run, tmp_path) as stage:
        instance = await stage.run()

    assert (instance.status, instance.output, instance.steps[0].attempts) == ("complete", '"call"', 1)


async def test_retry_later_says_itself_how_long_a_step_waits(tmp_path):
    async def run(event, step):
        await step.do("call", Calls().step("call", failures=[300], kind=RetryLater))

    async with staged(run, tmp_path) as stage:
        instance = await stage.run()

    assert 299_000 < instance.wakes_at_ms - stage.clock() <= 300_500


async def test_what_a_workflow_raises_itself_ends_it_at_once(tmp_path):
    async def run(event, step):
        raise KeyError("amount")

    async with staged(run, tmp_path) as stage:
        instance = await stage.run()

    assert (instance.status, instance.error) == ("errored", "KeyError: 'amount'")


async def test_a_long_sleep_goes_on_day_by_day_and_loses_nothing(tmp_path):
    async def run(event, step):
        await step.sleep_until("then", event.timestamp + timedelta(days=5))
        return "awake"

    async with staged(run, tmp_path) as stage:
        await stage.run()
        days = 0
        while (await stage.look("one")).status == "waiting":
            stage.clock.advance(limits.DELAY_SECONDS)
            await stage.platform.store.expire(stage.clock())
            days += await stage.deliver() is not None
        instance = await stage.look("one")

    assert (days, instance.output) == (5, '"awake"')


async def test_steps_side_by_side_are_all_done_although_one_of_them_waits(tmp_path):
    calls = Calls()

    async def chain(step):
        await step.do("b1", calls.step("b1"))
        await step.do("b2", calls.step("b2"))

    async def run(event, step):
        await asyncio.gather(step.sleep("a", 3600), chain(step))
        return "both"

    async with staged(run, tmp_path) as stage:
        waiting = await stage.run()
        stage.clock.advance(3600)
        done = await stage.deliver()

    assert (waiting.status, [step.name for step in waiting.steps]) == ("waiting", ["b1", "b2", "a"])
    assert (done.output, calls) == ('"both"', ["b1", "b2"])


async def test_steps_of_one_name_are_told_apart_by_their_number(tmp_path):
    async def run(event, step):
        results = [await step.do("item", lambda number=number: number * 10) for number in range(3)]
        await step.sleep("pause", 5)
        return results

    async with staged(run, tmp_path) as stage:
        await stage.run()
        stage.clock.advance(5)
        instance = await stage.deliver()

    assert instance.output == "[0,10,20]"
    assert [(step.name, step.number) for step in instance.steps] == [
        ("item", 1), ("item", 2), ("item", 3), ("pause", 1),
    ]  # fmt: skip


async def test_cloudflares_form_declares_steps_and_gives_them_the_results_of_others(tmp_path):
    async def run(event, step):
        @step.do("get the list")
        async def files():
            return ["a", "b"]

        @step.do()
        async def size(ctx):
            return ctx.attempt

        @step.do(concurrent=True)
        async def report(files, size):
            return f"{len(files)} files, attempt {size}"

        return await report()

    async with staged(run, tmp_path) as stage:
        instance = await stage.run()

    assert instance.output == '"2 files, attempt 1"'
    assert {step.name for step in instance.steps} == {"get the list", "size", "report"}


async def test_an_attempt_that_lasts_too_long_is_one_that_failed(tmp_path):
    async def run(event, step):
        await step.do("hang", asyncio.Event().wait, timeout_seconds=0.01, retries=0)

    async with staged(run, tmp_path) as stage:
        instance = await stage.run()

    assert instance.error == "StepFailed: step 'hang' failed: it took longer than 0.01 s"


async def test_a_plain_step_that_raises_stop_iteration_fails_at_once(tmp_path):
    async def run(event, step):
        await step.do("next", lambda: next(iter([])), retries=0)

    async with staged(run, tmp_path) as stage:
        instance = await stage.run()

    assert "StopIteration" in instance.error


async def test_a_result_that_is_no_json_fails_its_step(tmp_path):
    async def run(event, step):
        await step.do("make", object, retries=0)

    async with staged(run, tmp_path) as stage:
        instance = await stage.run()

    assert "the result of step 'make' cannot be written as JSON" in instance.error


async def test_results_that_are_too_much_together_fail_the_step_that_is_one_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "WORKFLOW_RESULTS_BYTES", 100)

    async def run(event, step):
        await step.do("first", lambda: "x" * 90)
        await step.do("second", lambda: "x" * 90)

    async with staged(run, tmp_path) as stage:
        instance = await stage.run()

    assert instance.error == (
        "StepFailed: step 'second' failed: the results of all steps have over 100 bytes; keep what is large elsewhere"
    )


async def test_a_long_run_goes_on_as_another_delivery_once_it_has_done_something(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "WORKFLOW_RUN_SECONDS", 0)
    calls = Calls()

    async def run(event, step):
        for number in range(3):
            await step.do("item", calls.step(number))

    async with staged(run, tmp_path) as stage:
        first = await stage.run()
        rest = [(await stage.deliver()).status for _ in range(2)]

    assert (first.status, rest, calls) == ("queued", ["queued", "complete"], [0, 1, 2])


async def test_an_id_given_twice_stands_for_the_same_instance(tmp_path):
    async def run(event, step):
        return event.payload

    async with staged(run, tmp_path) as stage:
        first = await stage.create("one", 1)
        second = await stage.create("one", 2)
        instance = await stage.deliver()

    assert (first.is_new, second.is_new, second.id) == (True, False, "one")
    assert instance.output == "1"


async def test_an_instance_and_its_message_are_there_together_or_not_at_all(tmp_path):
    async def run(event, step):
        return None

    def create_and_fail(work):
        instances.create(work, ACCOUNT, NAME, id="one")
        raise RuntimeError("something else went wrong")

    async with staged(run, tmp_path) as stage:
        with pytest.raises(RuntimeError):
            await stage.platform.write(create_and_fail)

        assert await stage.deliver() is None
        with pytest.raises(WorkflowNotFound, match="no instance 'one'"):
            await stage.look("one")


async def test_a_run_that_a_later_one_has_overtaken_writes_nothing(tmp_path):
    async def run(event, step):
        return None

    async with staged(run, tmp_path) as stage:
        await stage.create("one")
        message_id = await stage.message_id()
        first = await stage.journal.begin("one", message_id)
        second = await stage.journal.begin("one", message_id)
        note = StepNote(name="pay", number=1, status="complete", result="1")
        late = await stage.journal.note("one", first.version, note)
        end = await stage.journal.end("one", first.version, Pause(status="errored", error="late"))
        counts = await stage.journal.note("one", second.version, note)
        instance = await stage.look("one")

    assert (late, end, counts) == (False, False, True)
    assert (instance.status, len(instance.steps)) == ("running", 1)


async def test_a_message_that_somebody_else_has_sent_runs_nothing(tmp_path):
    calls = Calls()

    async def run(event, step):
        await step.do("one", calls.step("one"))

    async with staged(run, tmp_path) as stage:
        queue = await stage.platform.catalog.queue_named(ACCOUNT, f"workflow-{NAME}")
        await stage.create("one")
        await stage.platform.broker.send(queue, make_outgoing({"id": "one"}))
        await stage.platform.broker.send(queue, make_outgoing("no instance"))
        while await stage.line.deliver():
            pass
        backlog = await stage.platform.broker.backlog(queue)

    assert (calls, backlog.count) == (["one"], 0)


async def test_an_instance_that_is_terminated_in_the_middle_of_a_step_goes_no_further(tmp_path):
    begun, go_on, calls = asyncio.Event(), asyncio.Event(), Calls()

    async def first():
        begun.set()
        await go_on.wait()

    async def run(event, step):
        await step.do("first", first)
        await step.do("second", calls.step("second"))

    async with staged(run, tmp_path) as stage:
        await stage.create("one")
        delivering = asyncio.create_task(stage.deliver())
        await begun.wait()
        await stage.platform.write(lambda work: instances.terminate(work, ACCOUNT, NAME, "one"))
        go_on.set()
        await delivering
        await stage.deliver()
        instance, left = await stage.look("one"), await stage.deliver()

    assert (instance.status, instance.steps, calls, left) == ("terminated", (), [], None)


async def test_a_store_that_cannot_write_costs_an_instance_no_attempt(tmp_path, monkeypatch):
    async def run(event, step):
        return await step.do("one", lambda: 1)

    async def full(*arguments):
        raise StoreUnavailable("the disk is full")

    async with staged(run, tmp_path) as stage:
        with monkeypatch.context() as patched:
            patched.setattr(stage.journal, "note", full)
            await stage.run()
            queue = await stage.platform.catalog.queue_named(ACCOUNT, queue_of(NAME))
            (waiting,) = await stage.platform.store.peek(queue.id, 1, stage.clock())
        stage.clock.advance(1)
        done = await stage.deliver()

    assert (waiting.attempts, done.status) == (0, "complete")


async def test_an_instance_whose_process_ends_again_and_again_is_given_up(tmp_path):
    async def run(event, step):
        return "never reached"

    async with staged(run, tmp_path) as stage:
        await stage.create("one")
        queue = await stage.platform.catalog.queue_named(ACCOUNT, f"workflow-{NAME}")
        for _ in range(limits.WORKFLOW_DEATHS):  # deliveries that nobody settled
            await stage.platform.broker.receive(queue, 1, 1000)
            stage.clock.advance(3)
        instance = await stage.deliver()

    assert (instance.status, instance.error) == ("errored", "its process ended 50 times in the middle of a run")


async def test_ended_instances_are_forgotten_after_thirty_days(tmp_path):
    async def run(event, step):
        await step.do("one", lambda: 1)

    async with staged(run, tmp_path) as stage:
        await stage.run()
        stage.clock.advance(limits.WORKFLOW_KEPT_SECONDS - 1)
        early = await stage.platform.write(instances.forget_ended)
        stage.clock.advance(1)
        late = await stage.platform.write(instances.forget_ended)

        assert (early, late) == (0, 1)
        with pytest.raises(WorkflowNotFound):
            await stage.look("one")


@pytest.mark.parametrize("id", ["", "a b", "x" * 101, "../x"])
async def test_an_id_that_is_none_is_refused(tmp_path, id):
    async def run(event, step):
        return None

    async with staged(run, tmp_path) as stage:
        with pytest.raises(InvalidInput, match="id is"):
            await stage.create(id)


def test_a_function_that_is_no_workflow_is_refused_at_the_start():
    def plain(event, step):
        return None

    async def short(event):
        return None

    for wrong in (plain, short):
        with pytest.raises(ConfigurationError, match=r"expected `async def run\(event, step\)`"):
            workflow_handler(wrong, None)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"retries": -1}, "limit -1"),
        ({"retries": {"limits": 3}}, r"has \['limits'\]"),
        ({"retries": {"backoff": "wild"}}, "backoff 'wild'"),
        ({"retries": {"delay": "soon"}}, "delay is 'soon'"),
        ({"timeout_seconds": "a while"}, "timeout_seconds is 'a while'"),
    ],
)
async def test_options_that_are_wrong_end_the_instance_with_what_was_expected(tmp_path, options, sentence):
    async def run(event, step):
        await step.do("call", int, **options)

    async with staged(run, tmp_path) as stage:
        instance = await stage.run()

    assert instance.status == "errored"
    with pytest.raises(InvalidInput, match=sentence):
        raise InvalidInput(instance.error)


async def test_a_time_without_a_zone_is_refused(tmp_path):
    async def run(event, step):
        await step.sleep_until("then", datetime(2030, 1, 1, tzinfo=UTC).replace(tzinfo=None))

    async with staged(run, tmp_path) as stage:
        instance = await stage.run()

    assert "expected one with a time zone" in instance.error
