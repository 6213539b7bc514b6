"""What an answer of a provider means for the message, whatever the protocol."""

from typing import Literal

import msgspec

from millrace.apps.messaging.providers.contract import Failed, Refused


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, and in a few words why.

    `refused` says that this message will never be taken, `retry` that it may be later, `trouble` that the fault is
    not the message's: the provider's own, or that of our settings, which no message must pay for.
    """

    kind: Literal["refused", "retry", "trouble"]
    words: str = ""


def error_of(
    provider: str, verdict: Verdict, reason: str, retry_after_seconds: float | None = None
) -> Refused | Failed:
    """Make the error to raise. Whoever asks for a pause is in trouble, whatever else they say."""
    if verdict.kind == "refused":
        return Refused(provider, reason)
    is_trouble = verdict.kind == "trouble" or retry_after_seconds is not None
    return Failed(provider, reason, retry_after_seconds=retry_after_seconds, is_trouble=is_trouble)
