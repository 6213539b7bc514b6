"""A wrangler file applied to a catalog on a real store."""

import pytest

from millrace.catalog import Catalog
from millrace.cli.apply import apply, attach_handlers, check_handlers, plan_file
from millrace.cli.check import check_urls
from millrace.clock import wall_ms
from millrace.consumer import RateLimit
from millrace.errors import ConfigurationError, InvalidQueueName, InvalidRequest
from millrace.queue import Forward
from millrace.resources.outbound import Outbound
from millrace.sql.sqlite.connection import prepare
from millrace.sql.stores import sqlite_store
from tests.unit.wrangler_files import read_toml

SECRET = "whsec_" + "A" * 32


@pytest.fixture
async def catalog(tmp_path):
    path = str(tmp_path / "store.db")
    prepare(path, "apply")
    store = sqlite_store(path, wall_ms)
    yield Catalog(store, wall_ms)
    await store.close()


async def applied(catalog, folder, text, secrets=None):
    """Apply a file and give the lines of what was done."""
    changes = await plan_file(catalog, "acc", read_toml(folder, text), secrets or {})
    await apply(catalog, "acc", changes, secrets or {})
    return [change.line for change in changes]


EVERYTHING = """\
name = "shop"
[[queues.producers]]
binding = "ORDERS"
queue = "orders"
[[queues.consumers]]
queue = "orders"
max_retries = 1
max_attempts = 2
backoff = { kind = "exponential", base_seconds = 2 }
flush_on = "high"
head_start_seconds = 60
rate_limit = { messages = 100, per_seconds = 60 }
dead_letter_queue = "dead"
[[queues.consumers]]
queue = "pulled"
type = "http_pull"
[[queues.consumers]]
queue = "pushed"
type = "http_push"
url = "https://example.com/in"
secret_variable = "PUSH_SECRET"
[[queues.limits]]
queue = "orders"
max_backlog_messages = 5
retention = 3600
deduplication_seconds = 60
deduplicate_content = true
[[queues.forwards]]
queue = "orders"
to = "pulled"
headers = { Gift = "yes" }
"""


async def test_a_file_makes_what_it_names_and_changes_nothing_the_second_time(catalog, tmp_path):
    secrets = {"PUSH_SECRET": SECRET}

    assert len(await applied(catalog, tmp_path, EVERYTHING, secrets)) == 10
    assert await applied(catalog, tmp_path, EVERYTHING, secrets) == []

    orders, pushed = [await catalog.queue_named("acc", name) for name in ("orders", "pushed")]
    assert (orders.consumer.settings.max_retries, orders.consumer.settings.backoff.base_seconds) == (1, 2)
    assert (orders.settings.max_backlog_messages, orders.settings.message_retention_period) == (5, 3600)
    assert (orders.settings.deduplication_seconds, orders.settings.deduplicate_content) == (60, True)
    assert orders.settings.forwards == (Forward("pulled", {"Gift": "yes"}),)
    assert orders.consumer.settings.rate_limit == RateLimit(100, 60)
    assert (orders.producers, orders.consumer.applied_by) == (("shop",), "shop")
    assert (pushed.consumer.url, pushed.consumer.secret) == ("https://example.com/in", SECRET)
    assert await catalog.queue_named("acc", "dead")


async def test_looking_at_the_plan_writes_nothing(catalog, tmp_path):
    changes = await plan_file(catalog, "acc", read_toml(tmp_path, EVERYTHING), {"PUSH_SECRET": SECRET})

    assert len(changes) == 10
    assert await catalog.queues("acc") == []


async def test_a_file_that_names_nothing_any_more_gives_everything_up_but_queues_and_limits(catalog, tmp_path):
    await applied(catalog, tmp_path, EVERYTHING, {"PUSH_SECRET": SECRET})

    lines = await applied(catalog, tmp_path, 'name = "shop"\n')

    queues = await catalog.queues("acc")
    assert len(lines) == 4
    assert sorted(queue.name for queue in queues) == ["dead", "orders", "pulled", "pushed"]
    assert [(queue.consumer, queue.producers) for queue in queues] == [(None, ())] * 4
    assert await applied(catalog, tmp_path, 'name = "shop"\n') == []


async def test_the_files_of_two_scripts_leave_each_other_alone(catalog, tmp_path):
    await applied(catalog, tmp_path, 'name = "a"\n[[queues.consumers]]\nqueue = "q"\n')
    sends = '[[queues.producers]]\nbinding = "Q"\nqueue = "q"\n'

    await applied(catalog, tmp_path, f'name = "b"\n{sends}')
    await applied(catalog, tmp_path, f'name = "a"\n{sends}[[queues.consumers]]\nqueue = "q"\n')

    queue = await catalog.queue_named("acc", "q")
    assert (queue.consumer.script_name, queue.producers) == ("a", ("b", "a"))
    assert await applied(catalog, tmp_path, 'name = "b"\n') == ["- producer of q: b"]


async def test_a_secret_that_the_file_does_not_name_is_made_once_and_stays(catalog, tmp_path):
    text = '[[queues.consumers]]\nqueue = "q"\ntype = "http_push"\nurl = "https://example.com/in"\n'
    await applied(catalog, tmp_path, text)
    secret = (await catalog.queue_named("acc", "q")).consumer.secret

    lines = await applied(catalog, tmp_path, f"{text}max_retries = 9\n")

    consumer = (await catalog.queue_named("acc", "q")).consumer
    assert lines == ["~ consumer of q: max_retries 3 -> 9"]
    assert (consumer.secret, consumer.settings.max_retries) == (secret, 9)


CONSUMER = '[[queues.consumers]]\nqueue = "q"\n'
PUSH = f'{CONSUMER}type = "http_push"\nurl = "https://example.com"\n'
LIMITS = '[[queues.limits]]\nqueue = "q"\n'
FORWARDS = '[[queues.forwards]]\nqueue = "q"\n'
NAME_RULE = (
    "is not valid; expected 1 to 63 lower-case letters, digits and '-', beginning and ending with a letter or digit."
)


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        (
            f"{CONSUMER}max_batch_size = 500\n",
            3,
            '"queues.consumers[0].max_batch_size" is 500; expected a whole number from 1 to 100',
        ),
        (
            f"{CONSUMER}\nmax_batch_timeout = 90.5\n",
            4,
            '"queues.consumers[0].max_batch_timeout" is 90.5; expected 0 to 60 seconds',
        ),
        (
            f"{CONSUMER}max_batch_timeout = {10**400}\n",
            3,
            f'"queues.consumers[0].max_batch_timeout" is 1.{"0" * 27}e+400; expected 0 to 60 seconds',
        ),
        (
            f"{CONSUMER}max_attempts = 0\n",
            3,
            '"queues.consumers[0].max_attempts" is 0; expected a whole number from 1 to 100',
        ),
        (f'{CONSUMER}flush_on = "low"\n', 3, "\"queues.consumers[0].flush_on\" is 'low'; expected 'high'"),
        (
            f'{CONSUMER}backoff = {{ kind = "odd" }}\n',
            3,
            "\"queues.consumers[0].backoff.kind\" is 'odd'; expected 'fixed' or 'linear' or 'exponential'",
        ),
        (
            f'{CONSUMER}dead_letter_queue = "q"\n',
            3,
            "\"queues.consumers[0].dead_letter_queue\" is 'q', the queue itself; expected another queue",
        ),
        (
            f'{CONSUMER}dead_letter_queue = "Q"\n',
            3,
            f"\"queues.consumers[0].dead_letter_queue\": Queue name 'Q' {NAME_RULE}",
        ),
        (
            '[[queues.consumers]]\nqueue = "Q_"\n',
            2,
            f"\"queues.consumers[0].queue\": Queue name 'Q_' {NAME_RULE}",
        ),
        (
            '[[queues.producers]]\nbinding = "Ä"\n',
            1,
            f"\"queues.producers[0].queue\": Queue name 'ä' {NAME_RULE}",
        ),
        (
            f"{LIMITS}max_backlog_messages = -3\n",
            3,
            '"queues.limits[0].max_backlog_messages" is -3; expected 0 or more',
        ),
        (
            f"{LIMITS}retention = 59\n",
            3,
            '"queues.limits[0].retention" is 59; expected a whole number from 60 to 1209600',
        ),
        (
            f"{LIMITS}deduplication_seconds = 0\n",
            3,
            '"queues.limits[0].deduplication_seconds" is 0; expected a whole number from 1 to 86400',
        ),
        (
            f"{CONSUMER}rate_limit = {{ messages = 0 }}\n",
            3,
            '"queues.consumers[0].rate_limit.messages" is 0; expected a whole number from 1 to 1000000',
        ),
        (
            f"{CONSUMER}head_start_seconds = -1\n",
            3,
            '"queues.consumers[0].head_start_seconds" is -1; expected a whole number from 0 to 86400',
        ),
        (
            f'{FORWARDS}to = "q"\n',
            3,
            '"queues.forwards[0].to" is "q", the queue itself; expected another queue',
        ),
        (
            f'{FORWARDS}to = "r"\nheaders = {{ Gift = 1 }}\n',
            1,
            (
                "\"queues.forwards[0]\": forwards has {'queue': 'r', 'headers': {'Gift': 1}}; expected "
                "{'queue': a name, 'headers': names and values}: Expected `str`, got `int` - at `$.headers[...]`"
            ),
        ),
        (
            f'{FORWARDS}to = "Q"\n',
            3,
            f"\"queues.forwards[0].to\": Queue name 'Q' {NAME_RULE}",
        ),
        (
            f'{PUSH}secret_variable = "S"\n',
            5,
            '"queues.consumers[0].secret_variable" names the environment variable "S", which is not set; set it.',
        ),
    ],
)
async def test_a_refused_file_names_line_key_and_what_is_allowed_and_changes_nothing(
    catalog, tmp_path, text, line, sentence
):
    queue = await catalog.create("acc", "q", {})
    await catalog.attach("acc", queue.id, {"type": "http_pull", "settings": {}})
    before = await catalog.queues("acc")

    with pytest.raises(ConfigurationError) as refused:
        await applied(catalog, tmp_path, text)

    assert str(refused.value) == f"{tmp_path / 'wrangler.toml'}:{line}: {sentence}"
    assert await catalog.queues("acc") == before


@pytest.mark.parametrize("url", ["ftp://example.com", "https://user:hush@example.com", "example.com", "https://a/#b"])
async def test_a_wrong_url_is_refused_at_its_line_and_not_shown(catalog, tmp_path, url):
    with pytest.raises(ConfigurationError) as refused:
        await applied(catalog, tmp_path, f'{CONSUMER}type = "http_push"\nurl = "{url}"\n')

    assert f'{tmp_path / "wrangler.toml"}:4: "queues.consumers[0].url" is not valid; expected http' in str(
        refused.value
    )
    assert url not in str(refused.value)


async def test_a_wrong_secret_is_refused_and_not_shown(catalog, tmp_path):
    with pytest.raises(ConfigurationError) as refused:
        await applied(catalog, tmp_path, f'{PUSH}secret_variable = "S"\n', {"S": "hush"})

    assert f'{tmp_path / "wrangler.toml"}:5: "queues.consumers[0].secret_variable": ' in str(refused.value)
    assert "hush" not in str(refused.value)


async def test_all_that_is_refused_is_named_at_once_in_the_order_of_the_file(catalog, tmp_path):
    text = f"{LIMITS}retention = 1\n{CONSUMER}max_retries = 101\nretry_delay = -1\n"

    with pytest.raises(ConfigurationError) as refused:
        await applied(catalog, tmp_path, text)

    places = [line.split(" ")[0] for line in str(refused.value).split("\n  ")]
    assert places == [f"{tmp_path / 'wrangler.toml'}:{line}:" for line in (3, 6, 7)]


async def test_a_consumer_of_another_type_is_replaced_by_the_file_but_not_by_put(catalog, tmp_path):
    queue = await catalog.create("acc", "q", {})
    pull = await catalog.attach("acc", queue.id, {"type": "http_pull", "settings": {}})

    with pytest.raises(InvalidRequest, match="delete it first"):
        await catalog.replace_consumer("acc", queue.id, pull.id, {"type": "worker", "script_name": "s", "settings": {}})
    await applied(catalog, tmp_path, CONSUMER)

    assert (await catalog.queue_named("acc", "q")).consumer.type == "worker"


async def test_consumers_of_a_program_stay_although_the_file_has_the_same_script_name(catalog, tmp_path):
    await attach_handlers(catalog, "acc", {"hello": lambda batch: None})

    assert await applied(catalog, tmp_path, 'name = "app"\n') == []


PULLED = '[[queues.consumers]]\nqueue = "q"\ntype = "http_pull"\n'


async def test_a_program_is_refused_before_a_file_makes_its_queue_one_for_pulling(catalog, tmp_path):
    file = read_toml(tmp_path, PULLED)

    with pytest.raises(ConfigurationError) as refused:
        await check_handlers(catalog, "acc", {"other": print, "q": print}, file, {})

    assert str(refused.value).endswith(
        'wrangler.toml:3: "queues.consumers[0].type" is "http_pull"; '
        'expected "worker", since a handler of the program is for this queue'
    )
    assert await catalog.queues("acc") == []


async def test_a_program_may_have_the_queue_whose_consumer_the_file_gives_up(catalog, tmp_path):
    await applied(catalog, tmp_path, PULLED)

    await check_handlers(catalog, "acc", {"q": print}, read_toml(tmp_path, ""), {})
    with pytest.raises(ConfigurationError, match="'q' has a handler, but its consumer is of type http_pull"):
        await check_handlers(catalog, "acc", {"q": print}, None, {})


async def test_a_handler_for_what_can_be_no_queue_is_refused(catalog):
    with pytest.raises(InvalidQueueName, match="Queue name 'No Queue' is not valid"):
        await check_handlers(catalog, "acc", {"No Queue": print}, None, {})


def test_all_urls_that_lead_to_private_addresses_are_named_with_their_lines(tmp_path):
    entries = [f'[[queues.consumers]]\nqueue = "q{host[-1]}"\ntype = "http_push"\nurl = "https://{host}/in?k=1"\n'
               for host in ("10.0.0.1", "10.0.0.2", "hooks.example.com", "10.0.0.3")]  # fmt: skip

    with pytest.raises(ConfigurationError) as refused:
        check_urls(read_toml(tmp_path, "".join(entries)), Outbound(["10.0.0.2"]).check)

    lines = [line.partition("wrangler.toml:")[2] for line in str(refused.value).splitlines()]
    assert [line.split(" is no")[0] for line in lines] == [
        '4: "queues.consumers[0].url": 10.0.0.1',
        '16: "queues.consumers[3].url": 10.0.0.3',
    ]
