"""Where the agent reads objects: at the jobs' server, or in the bucket itself."""

import asyncio
from collections.abc import Callable

from millrace.edge_jobs.client import EdgeJobClient
from millrace.edge_jobs.job import Content, Job
from millrace.resources.objects.contract import ObjectStore
from millrace.resources.objects.s3 import R2Settings, S3Objects

ReadJob = Callable[[Job], Content]


def make_reader(client: EdgeJobClient, r2: R2Settings | None) -> ReadJob:
    """Make a function that gives the object of a job: from the bucket when there are settings for one.

    Raises:
        ConfigurationError: the settings of the bucket are wrong, or its library is not installed.
    """
    if r2 is None:
        return client.download
    objects = S3Objects(r2)
    return lambda job: Content(body=asyncio.run(_read(objects, job.r2_key)))  # in a thread, which has no loop


async def _read(objects: ObjectStore, key: str) -> bytes:
    return b"".join([piece async for piece in await objects.get(key)])
