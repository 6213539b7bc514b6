"""Identifiers and secrets. What makes them is passed in, so that tests can count instead."""

import secrets
from collections.abc import Callable

import uuid_utils

NewId = Callable[[], str]
NewReceipt = Callable[[], int]


def new_id() -> str:
    """Make an id of 32 lower-case hex characters that sorts by time (UUID version 7)."""
    return uuid_utils.uuid7().hex


def new_receipt() -> int:
    """Make the secret of one delivery: 63 random bits."""
    return secrets.randbits(63)
