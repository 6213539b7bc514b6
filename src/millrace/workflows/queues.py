"""The queue of a workflow: a message is an instance that has something to do, or will have."""

import re
from collections.abc import Mapping
from typing import Any

from millrace import limits
from millrace.errors import InvalidInput
from millrace.queue import QueueSettings

NAME = re.compile(rf"[a-z0-9]([a-z0-9-]{{0,{limits.WORKFLOW_NAME_CHARACTERS - 2}}}[a-z0-9])?")
PREFIX = "workflow-"

SETTINGS = QueueSettings(message_retention_period=None)  # an instance may sleep for years
CONSUMER: Mapping[str, Any] = {
    "type": "worker",
    "script_name": "workflow",
    "settings": {
        "batch_size": 1,  # else one that sleeps would wait for one that works
        "max_wait_time_ms": 0,
        "max_retries": limits.MAX_RETRIES,  # a run that dies gives up before
        "retry_delay": 1,
    },
}


def queue_of(workflow: str) -> str:
    """Give the name of a workflow's queue.

    Raises:
        InvalidInput: not 1 to 54 of a-z, 0-9 and '-', or a '-' at an end.
    """
    if NAME.fullmatch(workflow) is None:
        raise InvalidInput(
            f"workflow {workflow[:80]!r} is not valid; expected 1 to {limits.WORKFLOW_NAME_CHARACTERS} lower-case "
            "letters, digits and '-', beginning and ending with a letter or digit"
        )
    return PREFIX + workflow
