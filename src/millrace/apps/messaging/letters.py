"""The processors of e-mails and text messages: a provider is handed the message."""

from millrace.apps.messaging.consumer import Doing, Process
from millrace.apps.messaging.ends import End, end_of_handing
from millrace.apps.messaging.providers.contract import Provider


def hand_to(provider: Provider) -> Process:
    """Make the processor that hands messages to a provider."""

    async def process(doing: Doing) -> End:
        return end_of_handing(await provider.send(doing.account_id, doing.job))

    return process
