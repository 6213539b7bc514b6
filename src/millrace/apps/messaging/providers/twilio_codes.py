"""Twilio's error codes (www.twilio.com/docs/api/errors) and what each means for the message.

`refused` is about this recipient or this text, so another attempt would end the same. `retry` passes by itself.
`trouble` is about our account, our sender or Twilio itself: every message would fare so, and none must be buried for it.
"""

from millrace.apps.messaging.providers.verdicts import Verdict

REFUSED = {
    21211: "the recipient's number is not valid",
    21214: "the recipient's number cannot be reached",
    21217: "the phone number does not appear to be valid",
    21219: "the recipient's number is not verified, as a trial account needs it",
    21265: "the recipient's number is a short code",
    21266: "recipient and sender are the same number",
    21268: "the recipient's number is a premium or information service",
    21408: "the account may not send to the recipient's region",
    21421: "the phone number is not valid",
    21602: "the message has no text",
    21604: "the message has no recipient",
    21605: "the text is too long",
    21608: "the recipient's number is not verified, as a trial account needs it",
    21610: "the recipient has unsubscribed",  # by STOP; only the recipient can undo that
    21612: "the recipient cannot be reached from our sender",
    21614: "the recipient's number is no mobile number",
    21617: "the text has more than 1,600 characters",
    21618: "the text has characters that cannot be sent",
    21619: "the message has no text",
    21635: "the recipient's number is a landline",
    30004: "the recipient, or the carrier for them, blocks messages",
    30005: "the carrier does not know the recipient's number",
    30006: "the number is a landline, or its carrier takes no text messages",
    30007: "the carrier took the text for spam",  # the same text again makes the sender's standing worse
    30010: "the price is above the highest that is allowed",  # and will be the same at the next attempt
    30011: "the recipient's number takes no such messages",
    30018: "the recipient's carrier wants the sender registered",
    30019: "the text is too long for the carrier",
    30024: "the recipient's carrier does not know the sender",
    30032: "the toll-free sender is not verified",
    30034: "the sender is not registered for the recipient's country",
    30450: "taken for fraud and blocked",
}

RETRY = {
    14107: "too many messages in a short time",
    21611: "the sender's queue at Twilio is full",
    30001: "the carrier's queue is full",
    30003: "the phone cannot be reached now; it may be switched off",
    30008: "the carrier gave no reason",  # Twilio's own advice is to send it again
    30009: "a part of the message is missing",
    30017: "the carrier's network is congested",
    30022: "the carriers' rate for our campaign is used up",
    30023: "the carriers' daily number for our brand is used up",
    30027: "the carrier's daily number for our brand is used up",
    30036: "the message waited longer than it was valid",
    30410: "the carrier did not answer in time",
}

TROUBLE = {
    10001: "our account is not active",
    20003: "account or password (auth token) is wrong",
    20005: "our account is not active",
    20006: "our account may not do this",
    20008: "the test credentials may not do this",
    20404: "the account does not exist",
    20429: "too many requests",
    20500: "Twilio has an internal error",
    20503: "Twilio is not available",
    21212: "our sender's number is not valid",
    21267: "a trial account cannot send under a name",
    21601: "our sender's number takes no text messages",
    21603: "no sender is given",
    21606: "our sender's number cannot send text messages",
    21607: "our sender's number is not the trial account's",
    21609: "the address for reports is not valid",
    21659: "our sender's number is none of Twilio's",
    21660: "our sender's number belongs to another account",
    21661: "our sender's number cannot send text messages",
    21701: "our messaging service does not exist",
    21703: "our messaging service has no numbers",
    21705: "our messaging service does not exist",
    30002: "our account is suspended",
    63038: "our account's daily number of messages is used up",
}

CODES = {
    **{code: Verdict(kind="refused", words=words) for code, words in REFUSED.items()},
    **{code: Verdict(kind="retry", words=words) for code, words in RETRY.items()},
    **{code: Verdict(kind="trouble", words=words) for code, words in TROUBLE.items()},
}
OURS = (401, 403, 404, 405)  # keys, rights and addresses, which are the same for every message
LATER = (408, 425, 429)


def verdict_of(code: int | None, status: int | None = None) -> Verdict:
    """Say what an error code means; `status` is the HTTP status it came with, None in a report of delivery.

    Of codes that are not listed an answer 4xx is final, and the rest may be tried again.
    """
    known = CODES.get(code or 0)
    if known and (status is None or status < 500):
        return known
    if status is None:
        return Verdict(kind="retry", words="")
    if status in OURS:
        return Verdict(kind="trouble", words="account, auth token or address is wrong")
    if 400 <= status < 500 and status not in LATER:
        return Verdict(kind="refused", words="")
    return Verdict(kind="trouble", words="Twilio is busy or broken")
