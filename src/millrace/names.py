"""The names that accounts and queues may have."""

import re

from millrace import limits
from millrace.errors import InvalidInput, InvalidQueueName

QUEUE_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
ACCOUNT_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{limits.ACCOUNT_ID_CHARACTERS}}}")


def check_queue_name(name: str) -> str:
    """Return the name.

    Raises:
        InvalidQueueName: not 1 to 63 of a-z, 0-9 and '-', or a '-' at an end.
    """
    if QUEUE_NAME.fullmatch(name) is None:
        raise InvalidQueueName(
            f"Queue name {name[:80]!r} is not valid; expected 1 to {limits.QUEUE_NAME_CHARACTERS} lower-case letters, "
            "digits and '-', beginning and ending with a letter or digit."
        )
    return name


def check_account_id(account_id: str) -> str:
    """Return the account id.

    Raises:
        InvalidInput: not 1 to 32 letters, digits, '.', '_' or '-'.
    """
    if ACCOUNT_ID.fullmatch(account_id) is None:
        raise InvalidInput(
            f"account {account_id[:80]!r} is not valid; expected 1 to 32 of A-Z, a-z, 0-9, '.', '_' and '-'"
        )
    return account_id
