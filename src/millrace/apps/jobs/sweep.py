"""The sweep: stores what became of jobs that left the queue without an ack, and tells the followers of their runs.

All answers are right without it, since they look at the messages themselves.
"""

from functools import partial

from millrace import limits
from millrace.apps.jobs.settling import store_missing
from millrace.platform import Platform
from millrace.work import Work


async def sweep(platform: Platform, account_id: str) -> None:
    """Store the ends of the account's jobs, in chunks."""

    def find(work: Work) -> list[str]:
        return [row[0] for row in work.fetch("missing_jobs", (account_id, limits.ROWS_PER_TRANSACTION))]

    while missing := await platform.read(find):
        await platform.write(partial(store_missing, account_id=account_id, job_ids=missing))
