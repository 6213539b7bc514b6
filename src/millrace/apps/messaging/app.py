"""The messaging application as a value: its queues, its routes, its handler."""

from functools import partial

from millrace.access.cipher import Cipher
from millrace.apps.messaging.cleanup.retention import retention
from millrace.apps.messaging.cleanup.routes import ArchiveRoutes
from millrace.apps.messaging.cleanup.run import cleaning
from millrace.apps.messaging.consumer import Delivery
from millrace.apps.messaging.debug_routes import DebugRoutes
from millrace.apps.messaging.exports.files import remove_files
from millrace.apps.messaging.exports.following import Following, kept_ms
from millrace.apps.messaging.exports.links import LinkRules, admit_signed
from millrace.apps.messaging.exports.routes import ExportRoutes
from millrace.apps.messaging.exports.run import exporting
from millrace.apps.messaging.figures import failure_counts
from millrace.apps.messaging.job_routes import Counter, JobRoutes
from millrace.apps.messaging.letters import hand_to
from millrace.apps.messaging.list_routes import ListRoutes
from millrace.apps.messaging.message_routes import MessageRoutes
from millrace.apps.messaging.notices import mail_notice
from millrace.apps.messaging.pacing import shared_pace
from millrace.apps.messaging.pages.page import messages_page
from millrace.apps.messaging.providers.choice import make_providers
from millrace.apps.messaging.queueing import Rules
from millrace.apps.messaging.queues import QUEUE, needs
from millrace.apps.messaging.review_routes import ReviewRoutes
from millrace.apps.messaging.sealing import Seals
from millrace.apps.messaging.settings import MessagingSettings
from millrace.apps.messaging.sweep import sweep
from millrace.apps.messaging.webhook_routes import WORD, WebhookRoutes, make_admit
from millrace.platform import App, Cron, Platform
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
    links = LinkRules(settings.link_seconds, settings.public_url)
    processes = {
        "email_send": hand_to(providers.email),
        "sms_send": hand_to(providers.sms),
        "export_generation": exporting(platform, objects, Following(rules, links, kept_ms(settings))),
        "cleanup": cleaning(platform, objects, partial(remove_files, platform, objects)),
    }
    lists = ListRoutes(platform, rules)
    return App(
        queues=queues,
        handlers={QUEUE: Delivery(platform, rules, processes)},
        close=providers.aclose,
        failure_rates={QUEUE: failure_counts},
        notices={"email": partial(mail_notice, rules)},
        pages=(messages_page(platform, rules.seals),),
        sockets=lists.sockets(),
        admissions={WORD: make_admit(settings.account_id)},
        signed=(admit_signed,),
        sweeps=(partial(sweep, rules),),
        crons=(Cron(name="clean-up", expression=settings.cleanup_cron, act=retention(rules, settings)),),
        routes=(
            *JobRoutes(counter, rules).routes(),
            *MessageRoutes(platform, rules).routes(),
            *lists.routes(),
            *ArchiveRoutes(platform, objects).routes(),
            *ExportRoutes(platform, objects, rules.seals, links).routes(),
            *ReviewRoutes(counter, rules).routes(),
            *WebhookRoutes(platform, rules, settings).routes(),
            *DebugRoutes(counter, rules, settings).routes(),
        ),
    )
