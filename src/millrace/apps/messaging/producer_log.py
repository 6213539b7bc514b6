"""What a producer tells of: a line in the log for jobs that were not queued, and Sentry's trail where Sentry is at work.

Both know jobs by type and id only.
"""

import logging
import sys
from collections.abc import Sequence
from typing import Any

from millrace.apps.messaging.given_jobs import Parcel
from millrace.apps.messaging.jobs import id_of, type_of
from millrace.errors import MillraceError

LOG = logging.getLogger("millrace.producer")
NAMED_JOBS = 10


def tell_queued(parcels: Sequence[Parcel]) -> None:
    """Tell that jobs are in the queue."""
    LOG.debug("queued: %s", _named(parcels))
    _add_breadcrumb("info", f"queued: {_named(parcels)}", parcels)


def tell_refused(parcels: Sequence[Parcel], error: Exception) -> None:
    """Tell that jobs are not in the queue, as far as one knows, and why."""
    why = str(error) if isinstance(error, MillraceError) else type(error).__name__  # others may quote what was sent
    sentence = f"not queued: {_named(parcels)}: {why}"
    _add_breadcrumb("error", sentence, parcels)
    LOG.error("%s", sentence, extra={"jobs": _jobs(parcels), "error_type": type(error).__name__})
    sentry = _sentry()
    if sentry is not None and sentry.get_client().get_integration("logging") is None:  # else it has read the line
        sentry.capture_message(sentence, level="error")


def _named(parcels: Sequence[Parcel]) -> str:
    names = [" ".join(filter(None, (type_of(parcel.job), id_of(parcel.job)))) for parcel in parcels[:NAMED_JOBS]]
    more = len(parcels) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _jobs(parcels: Sequence[Parcel]) -> list[dict[str, str | None]]:
    return [{"type": type_of(parcel.job), "id": id_of(parcel.job)} for parcel in parcels[:NAMED_JOBS]]


def _add_breadcrumb(level: str, sentence: str, parcels: Sequence[Parcel]) -> None:
    sentry = _sentry()
    if sentry is not None:
        sentry.add_breadcrumb(category="queue", level=level, message=sentence, data={"jobs": _jobs(parcels)})


def _sentry() -> Any | None:
    """Give the program's own Sentry; a program that has none does not get it from us."""
    sentry = sys.modules.get("sentry_sdk")
    return sentry if sentry is not None and sentry.is_initialized() else None
