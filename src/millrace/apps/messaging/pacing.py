"""The pace at which providers are asked: a bucket in the store, which all servers share."""

from millrace.apps.messaging.providers.guard import Take
from millrace.bucket import Rate
from millrace.coordination import buckets
from millrace.platform import Platform


def shared_pace(platform: Platform, account_id: str) -> Take:
    """Make what takes a message's share of a provider's rate."""

    async def take(name: str, rate: Rate) -> float:
        bucket = f"provider {name}"
        return await platform.write(lambda work: buckets.take(work.tx, account_id, bucket, 1, rate, work.now_ms))

    return take
