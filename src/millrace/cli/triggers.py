"""The crons of a start, as triggers: those of applications and programs, and those of the wrangler file. Pure."""

from collections.abc import Iterable, Sequence

from millrace.cli.plan import script_of
from millrace.errors import ConfigurationError, InvalidCron, InvalidQueueName
from millrace.names import check_queue_name
from millrace.platform import Cron, QueueNeed
from millrace.runtime.cron import check_cron
from millrace.runtime.cron_runs import Trigger
from millrace.wrangler.file import WranglerFile

PREFIX, SUFFIX = "crons-", "-dlq"
SCRIPT = "crons"
APPLIED_BY = "--crons"  # no file's script has this name, so no file detaches these consumers
SETTINGS = {"batch_size": 1, "max_wait_time_ms": 0, "max_retries": 3, "retry_delay": 30}


def queue_of_program(program: str) -> str:
    """Name the queue that the runs of a program's crons are sent to.

    Raises:
        InvalidQueueName: the program's name is too long for it and for its dead-letter queue.
    """
    name = PREFIX + program.replace("_", "-").strip("-")
    try:
        return check_queue_name(name + SUFFIX).removesuffix(SUFFIX)
    except InvalidQueueName as error:
        raise InvalidQueueName(f"name is {program[:80]!r}, whose crons need a queue; {error}") from None


def queue_need(queue: str, *, one_at_a_time: bool) -> QueueNeed:
    """Say what the queue of a program's crons is to be like when it is missing."""
    consumer = {
        "type": "worker",
        "script_name": SCRIPT,
        "dead_letter_queue": queue + SUFFIX,
        "settings": {**SETTINGS, **({"max_concurrency": 1} if one_at_a_time else {})},
        "applied_by": APPLIED_BY,
    }
    return QueueNeed(name=queue, consumer=consumer)


def has_cron_handler(file: WranglerFile) -> bool:
    """Say whether a file with crons names what handles them: a function, or a Python Worker."""
    return bool(file.crons) and (file.scheduled is not None or (file.main or "").endswith(".py"))


def file_triggers(account_id: str, file: WranglerFile | None) -> list[Trigger]:
    """Give the triggers of a file that has a handler for its crons."""
    if file is None or not has_cron_handler(file):
        return []
    program = script_of(file)
    return [Trigger(account_id, program, cron, queue_of_program(program)) for cron in dict.fromkeys(file.crons)]


def cron_triggers(
    cron: Cron, accounts: Iterable[str], file: WranglerFile | None, file_account_id: str
) -> list[Trigger]:
    """Give the triggers of a program's cron; one without an expression follows the file, in the file's account.

    Raises:
        ConfigurationError: name or expression is wrong.
    """
    try:
        queue = queue_of_program(cron.name)
        if cron.expression:
            check_cron(cron.expression)
            return [Trigger(account_id, cron.name, cron.expression, queue) for account_id in accounts]
    except (InvalidCron, InvalidQueueName) as error:
        raise ConfigurationError(f"cron {cron.name!r}: {error}") from error
    expressions = file.crons if file is not None and not has_cron_handler(file) else ()
    return [Trigger(file_account_id, cron.name, expression, queue) for expression in dict.fromkeys(expressions)]


def check_names(names: Sequence[str]) -> None:
    """Let programs with crons pass whose queues are not each other's.

    Raises:
        ConfigurationError: two have the same name, or names that differ in `_` and `-` alone.
    """
    queues = [queue_of_program(name) for name in names]
    for name, queue in zip(names, queues, strict=True):
        if queues.count(queue) > 1:
            raise ConfigurationError(f"two programs with crons are called {name!r}; give one of them another name")
