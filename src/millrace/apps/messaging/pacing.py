"""The pace at which providers are asked: a bucket in the store, which all servers share."""

from millrace.apps.messaging.providers.guard import Take
from millrace.bucket import Rate
from millrace.coordination import buckets
from millrace.platform import Platform
from millrace.work import Work


def shared_pace(platform: Platform, account_id: str) -> Take:
    """Make what takes a message's share of a provider's rate."""

    async def take(name: str, rate: Rate, longest_seconds: float) -> float:
        def reserve(work: Work) -> float:
            return buckets.reserve(work.tx, account_id, f"provider {name}", rate, work.now_ms, longest_seconds)

        return await platform.write(reserve)

    return take
