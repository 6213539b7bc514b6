"""Identifiers and secrets. What makes them is passed in, so that tests can count instead."""

import secrets
from base64 import b64encode
from collections.abc import Callable

import uuid_utils

NewId = Callable[[], str]
NewReceipt = Callable[[], int]
NewSecret = Callable[[], str]


def new_id() -> str:
    """Make an id of 32 lower-case hex characters that sorts by time (UUID version 7)."""
    return uuid_utils.uuid7().hex


def new_receipt() -> int:
    """Make the secret of one delivery: 63 random bits."""
    return secrets.randbits(63)


def new_push_secret() -> str:
    """Make the secret of a consumer that is pushed to: 256 random bits, spelt as Standard Webhooks has it."""
    return f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"
