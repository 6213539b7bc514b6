"""Refuse what a wrangler file says before anything of it is applied: names, ranges, secrets, each with its place."""

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal

from millrace import limits
from millrace.cli.plan import forwards_of
from millrace.cli.triggers import queue_of_program
from millrace.consumer import check_dead_letters, check_push_url, make_consumer, make_consumer_settings
from millrace.errors import InvalidInput, OutboundRefused
from millrace.jsonc import dumps
from millrace.names import check_queue_name
from millrace.queue import QueueSettings, change_queue_settings, check_backlog_limits
from millrace.runtime.cron import check_cron
from millrace.wrangler.file import ConsumerEntry, QueueLimits, WranglerFile
from millrace.wrangler.places import Problem
from millrace.wrangler.shapes import SETTINGS

FILE_KEYS = {ours: key for key, ours in SETTINGS.items()}


def check_file(file: WranglerFile, secrets: Mapping[str, str]) -> None:
    """Let a file pass that can be applied as it stands; `secrets` are the values of environment variables.

    Raises:
        ConfigurationError: it cannot; one line for each problem, with file, line, key and what is allowed.
    """
    problems = list(_problems(file, secrets))
    if problems:
        raise file.refusal(problems)


def check_urls(file: WranglerFile, check: Callable[[str], object]) -> None:
    """Let the URLs of a checked file pass if `check`, which refuses private addresses, lets them.

    Raises:
        ConfigurationError: it does not; one line for each, with file, line and key.
    """
    problems: list[Problem] = []
    for entry in file.consumers:
        try:
            if entry.url is not None:
                check(entry.url)
        except OutboundRefused as error:
            problems.append(Problem(f"{entry.path}.url", f'"{entry.path}.url": {error}'))
    if problems:
        raise file.refusal(problems)


def _problems(file: WranglerFile, secrets: Mapping[str, str]) -> Iterator[Problem]:
    for entry in (*file.producers, *file.consumers, *file.limits, *file.forwards):
        yield from _refused(f"{entry.path}.queue", "", check_queue_name, entry.queue)
    for consumer in file.consumers:
        yield from _settings_problems(consumer)
        yield from _dead_letters_problems(consumer)
        if consumer.type == "http_push":
            yield from _push_problems(consumer, secrets)
    for limit in file.limits:
        yield from _limits_problems(limit)
    yield from _forwards_problems(file)
    yield from _crons_problems(file)


def _refused(path: str, word: str, check: Callable[..., object], *arguments: object) -> Iterator[Problem]:
    """Tell what the check refuses, with the path in place of its own word for the key."""
    try:
        check(*arguments)
    except InvalidInput as error:
        sentence = str(error)
        begins = re.match(rf"{word}([.\w]*)(?= (?:is|has) )", sentence) if word else None
        if begins is None:
            yield Problem(path, f'"{path}": {sentence}')
        else:
            path += begins[1]
            yield Problem(path, f'"{path}"{sentence[begins.end() :]}')


def _crons_problems(file: WranglerFile) -> Iterator[Problem]:
    for index, cron in enumerate(file.crons):
        yield from _refused(f"{file.crons_path}[{index}]", "", check_cron, cron)
    if file.crons and file.name is not None:
        yield from _refused("name", "", queue_of_program, file.name)


def _settings_problems(entry: ConsumerEntry) -> Iterator[Problem]:
    for key, value in entry.settings.items():
        path = f"{entry.path}.{FILE_KEYS.get(key, key)}"
        for problem in _refused(path, key, make_consumer_settings, entry.type, {key: value}):
            yield _in_seconds(path, value) if key == "max_wait_time_ms" else problem


def _in_seconds(path: str, milliseconds: int) -> Problem:
    allowed = f"expected 0 to {limits.MAX_WAIT_TIME_MS // 1000} seconds"
    return Problem(path, f'"{path}" is {Decimal(milliseconds) / 1000:g}; {allowed}')


def _dead_letters_problems(entry: ConsumerEntry) -> Iterator[Problem]:
    if entry.dead_letter_queue is not None:
        path = f"{entry.path}.dead_letter_queue"
        yield from _refused(path, "", check_queue_name, entry.dead_letter_queue)
        yield from _refused(path, "dead_letter_queue", check_dead_letters, entry.queue, entry.dead_letter_queue)


def _push_problems(entry: ConsumerEntry, secrets: Mapping[str, str]) -> Iterator[Problem]:
    refused = list(_refused(f"{entry.path}.url", "url", check_push_url, entry.url))
    yield from refused
    variable, path = entry.secret_variable, f"{entry.path}.secret_variable"
    if variable is not None and variable not in secrets:
        yield Problem(path, f'"{path}" names the environment variable {dumps(variable)}, which is not set; set it.')
    elif variable is not None and not refused:
        yield from _refused(path, "", _check_secret, entry.url, secrets[variable])


def _check_secret(url: str, secret: str) -> None:
    make_consumer(id="", queue_name="any", now_ms=0, type="http_push", settings={}, url=url, secret=secret)


def _limits_problems(limit: QueueLimits) -> Iterator[Problem]:
    messages, size = limit.max_backlog_messages, limit.max_backlog_bytes
    yield from _refused(
        f"{limit.path}.max_backlog_messages", "max_backlog_messages", check_backlog_limits, messages, None
    )
    yield from _refused(f"{limit.path}.max_backlog_bytes", "max_backlog_bytes", check_backlog_limits, None, size)
    numbers = {
        "retention": ("message_retention_period", limit.retention_seconds),
        "deduplication_seconds": ("deduplication_seconds", limit.deduplication_seconds),
    }
    for key, (word, seconds) in numbers.items():
        if seconds is not None:
            yield from _refused(f"{limit.path}.{key}", word, change_queue_settings, QueueSettings(), {word: seconds})


def _forwards_problems(file: WranglerFile) -> Iterator[Problem]:
    """Tell of targets that are none; what is wrong with all forwards of a queue is told at the last of them."""
    forwards, last = forwards_of(file), {entry.queue: entry for entry in file.forwards}
    for entry in file.forwards:
        refused = list(_refused(f"{entry.path}.to", "", check_queue_name, entry.to))
        yield from refused
        if entry.to == entry.queue:
            sentence = f'"{entry.path}.to" is {dumps(entry.to)}, the queue itself; expected another queue'
            yield Problem(f"{entry.path}.to", sentence)
        elif not refused and entry is last[entry.queue]:
            settings = {"forwards": forwards[entry.queue]}
            yield from _refused(entry.path, "", change_queue_settings, QueueSettings(), settings)
