"""A program with something to manage: a cron that is not due, and a workflow that waits."""

from millrace import App
from millrace.platform import Cron


async def tidy(platform, account_id):
    pass


async def wait(event, step):
    await step.sleep("long", 3600)


app = App(crons=(Cron(name="tidy", expression="0 0 1 1 *", act=tidy),), workflows={"wait": wait})
