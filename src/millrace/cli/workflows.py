"""What workflows need before the door opens: their queues, and what runs their instances."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from millrace.cli.house import House
from millrace.errors import ConsumerExists, InvalidInput
from millrace.handlers import Call, as_call
from millrace.handlers.asking import Ask
from millrace.handlers.workflow import workflow_handler
from millrace.platform import App, QueueNeed, ensure_queues
from millrace.runtime.consumer import QueueConsumer
from millrace.workflows.binding import journal_ask
from millrace.workflows.journal import StoredJournal
from millrace.workflows.queues import CONSUMER, PREFIX, SETTINGS, queue_of
from millrace.wrangler.file import WranglerFile
from millrace.wrangler.places import Problem


def check_workflows(file: WranglerFile, apps: Sequence[App]) -> None:
    """Let the workflows of a file pass if their names are some, and something runs each of them.

    Raises:
        ConfigurationError: the message has a line for each that does not.
    """
    if problems := list(_problems(file, {name for app in apps for name in app.workflows})):
        raise file.refusal(problems)


def workflow_calls(house: House, account_id: str, apps: Sequence[App], taken: Collection[str] = ()) -> dict[str, Call]:
    """Make what runs the workflows of applications in an account, by their queues, but for those that are `taken`.

    Raises:
        ConfigurationError: a workflow cannot be called with (event, step) or (event, step, env).
        InvalidInput: a workflow's name is none.
    """
    functions = {name: function for app in apps for name, function in app.workflows.items()}
    return {
        queue_of(name): as_call(workflow_handler(function, StoredJournal(house.platform, account_id, name)))
        for name, function in functions.items()
        if queue_of(name) not in taken
    }


async def ensure_workflow_queues(house: House, account_id: str, queues: Iterable[str]) -> None:
    """Make the queues of workflows that the account does not have yet, each with its consumer."""
    for name in queues:
        await ensure_queues(house.platform, account_id, (QueueNeed(name=name, settings=SETTINGS, consumer=CONSUMER),))
        queue = await house.catalog.queue_named(account_id, name)
        if queue.consumer is None:
            with suppress(ConsumerExists):  # somebody was quicker
                await house.catalog.attach(account_id, queue.id, CONSUMER)


async def workflow_consumers(
    house: House, account_id: str, calls: Mapping[str, Call], env: Any, limits: Mapping[str, Any]
) -> list[QueueConsumer]:
    """Make the consumers that feed them."""
    await ensure_workflow_queues(house, account_id, calls)
    return [house.consumer(account_id, queue, call, env, **limits) for queue, call in calls.items()]


def journal_asks(house: House, account_id: str, queues: Iterable[str]) -> dict[str, Ask]:
    """Make what answers for the runs of other processes, by the queue of the workflow."""
    journals = {queue: StoredJournal(house.platform, account_id, queue.removeprefix(PREFIX)) for queue in queues}
    return {queue: journal_ask(journal) for queue, journal in journals.items()}


def _problems(file: WranglerFile, known: set[str]) -> Iterator[Problem]:
    for other in file.others:
        if other.kind != "workflow":
            continue
        try:
            queue_of(other.target)
        except InvalidInput as error:
            yield Problem(f"{other.path}.name", f'"{other.path}.name": {error}')
            continue
        is_worker = file.main is not None and file.main.endswith(".py")
        if other.target not in known and not (other.class_name is not None and is_worker):
            expected = 'expected a "class_name" of the Python file in "main", or a workflow of --app'
            yield Problem(other.path, f'"{other.path}": nothing runs the workflow "{other.target}"; {expected}.')
