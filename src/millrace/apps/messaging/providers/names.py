"""The name of a message towards others: always the same one, and nothing of its id can be read from it."""

import hashlib

from millrace.apps.messaging.jobs import Letter, type_of


def digest_of(account_id: str, letter: Letter) -> str:
    """Give 32 hexadecimal digits that stand for this message of this account, at each attempt."""
    return hashlib.sha256(f"{account_id}\0{type_of(letter)}\0{letter.message_id}".encode()).hexdigest()[:32]
