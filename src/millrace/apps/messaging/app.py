"""The messaging application as a value: its queues, its routes, its handler."""

from functools import partial

from millrace.access.cipher import Cipher
from millrace.apps.messaging.consumer import Delivery
from millrace.apps.messaging.debug_routes import DebugRoutes
from millrace.apps.messaging.figures import failure_counts
from millrace.apps.messaging.job_routes import Counter, JobRoutes
from millrace.apps.messaging.letters import hand_to
from millrace.apps.messaging.message_routes import MessageRoutes
from millrace.apps.messaging.notices import mail_notice
from millrace.apps.messaging.pacing import shared_pace
from millrace.apps.messaging.providers.choice import make_providers
from millrace.apps.messaging.queueing import Rules
from millrace.apps.messaging.queues import QUEUE, needs
from millrace.apps.messaging.sealing import Seals
from millrace.apps.messaging.settings import MessagingSettings
from millrace.platform import App, Platform
from millrace.resources.objects.contract import ObjectStore
from millrace.sql.schemas import Schema

SCHEMA = Schema("messaging", "millrace.apps.messaging")


def app(platform: Platform, settings: MessagingSettings, objects: ObjectStore, cipher: Cipher | None) -> App:
    """Make the application."""
    queues = needs(settings.retry_base_seconds)
    rules = Rules(Seals(cipher), settings.recipient_rate)
    counter = Counter(platform, queues, settings.key_rate)
    pace = shared_pace(platform, settings.account_id)
    providers = make_providers(settings, platform.outbound, platform.telemetry, platform.clock, pace)
    processes = {"email_send": hand_to(providers.email), "sms_send": hand_to(providers.sms)}
    return App(
        queues=queues,
        handlers={QUEUE: Delivery(platform, rules, processes)},
        close=providers.aclose,
        failure_rates={QUEUE: failure_counts},
        notices={"email": partial(mail_notice, rules)},
        routes=(
            *JobRoutes(counter, rules).routes(),
            *MessageRoutes(platform, rules).routes(),
            *DebugRoutes(counter, rules, settings).routes(),
        ),
    )
