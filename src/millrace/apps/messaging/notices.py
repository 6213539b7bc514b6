"""Alerts by e-mail: a message like any other."""

from millrace.alerting.notices import Notice
from millrace.apps.messaging.fields import check_address
from millrace.apps.messaging.jobs import EmailJob
from millrace.apps.messaging.queueing import By, Rules, queue_jobs
from millrace.errors import InvalidInput
from millrace.ids import new_id
from millrace.work import Work

OWNER = "alerts"  # stands for the key


def mail_notice(rules: Rules, work: Work, account_id: str, target: str, notice: Notice) -> None:
    """Queue the e-mail that tells of an alert, in the transaction in which it fires or clears.

    Raises:
        InvalidInput: the target is no e-mail address.
        QueueNotFound: the account has no queue for messages yet.
    """
    try:
        check_address("email", target)
    except ValueError as error:
        raise InvalidInput(str(error)) from None
    has_fired = notice.type == "alert.fired"
    subject = f"{'Alert' if has_fired else 'Cleared'}: {notice.rule}"
    lines = (
        f"Rule: {notice.rule}",
        f"Queue: {notice.queue}",
        f"Measure: {notice.measure}, now {notice.value:g}, {'above' if has_fired else 'limit'} {notice.above:g}",
        f"At: {notice.at}",
    )
    job = EmailJob(
        message_id=f"alert-{new_id()}",
        recipient=target,
        subject=subject,
        content="\n".join(lines) + "\n",
        priority="high",
    )
    queue_jobs(work, account_id, [job], rules._replace(recipient_rate=None), By(OWNER))
