"""What a file asks for, as the lines of its plan."""

import msgspec
import pytest

from millrace.cli.plan import SetConsumer, plan
from millrace.consumer import make_consumer
from millrace.platform import QueueNeed
from millrace.queue import Forward, Queue, QueueSettings
from tests.unit.wrangler_files import read_toml

CONSUMER = '[[queues.consumers]]\nqueue = "q"\n'
FORWARDS = '[[queues.forwards]]\nqueue = "a"\nto = "{}"\n'
PUSH = f'{CONSUMER}type = "http_push"\nurl = "https://example.com/in?token=abc"\n'


def a_queue(name="q", consumer=None, producers=(), **settings):
    return Queue(
        id=f"id of {name}",
        account_id="acc",
        name=name,
        created_at_ms=0,
        modified_at_ms=0,
        settings=QueueSettings(**settings),
        producers=producers,
        consumer=consumer,
    )


def a_consumer(type="worker", script_name="shop", applied_by="shop", settings=None, **more):
    return make_consumer(
        id="c",
        queue_name="q",
        now_ms=0,
        type=type,
        script_name=script_name,
        applied_by=applied_by,
        settings=settings or {},
        **more,
    )


def lines(folder, text, *queues, secrets=None):
    file = read_toml(folder, f'name = "shop"\n{text}')
    return [change.line for change in plan(file, queues, secrets or {})]


class TestQueues:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", []),
            (CONSUMER, ["+ queue q", "+ consumer of q: worker shop"]),
            ('[[queues.limits]]\nqueue = "q"\n', ["+ queue q"]),
            ('[[queues.producers]]\nbinding = "Q_R"\n', ["+ queue q-r", "+ producer of q-r: shop"]),
            (
                f'{CONSUMER}dead_letter_queue = "dead"\n[[queues.producers]]\nbinding = "Q"\nqueue = "q"\n',
                [
                    "+ queue q",
                    "+ queue dead",
                    "+ consumer of q: worker shop, dead_letter_queue dead",
                    "+ producer of q: shop",
                ],
            ),
        ],
    )
    def test_what_is_missing_is_made(self, tmp_path, text, expected):
        assert lines(tmp_path, text) == expected

    def test_a_dead_letter_queue_is_made_in_the_jurisdiction_of_its_queue(self, tmp_path):
        file = read_toml(tmp_path, f'{CONSUMER}dead_letter_queue = "dead"\n')
        queue = msgspec.structs.replace(a_queue(), jurisdiction="eu")

        made = plan(file, [queue], {})[0]

        assert (made.queue, made.jurisdiction) == ("dead", "eu")

    @pytest.mark.parametrize(
        ("limits", "settings", "expected"),
        [
            ("max_backlog_messages = 5", {}, ["~ queue q: max_backlog_messages none -> 5"]),
            ("max_backlog_messages = 5", {"max_backlog_messages": 5}, []),
            (
                "max_backlog_bytes = 9",
                {"max_backlog_messages": 5},
                ["~ queue q: max_backlog_messages 5 -> none, max_backlog_bytes none -> 9"],
            ),
            ("retention = 3600", {}, ["~ queue q: message_retention_period 345600 -> 3600"]),
            (
                "retention = 3600",
                {"message_retention_period": None},
                ["~ queue q: message_retention_period none -> 3600"],
            ),
            ("retention = 3600", {"message_retention_period": 3600}, []),
            ("", {"message_retention_period": 3600}, []),
            (
                "deduplication_seconds = 60\ndeduplicate_content = true",
                {},
                ["~ queue q: deduplication_seconds 300 -> 60, deduplicate_content false -> true"],
            ),
            ("deduplicate_content = true", {"deduplicate_content": True}, []),
            ("", {"deduplicate_content": True}, []),
        ],
    )
    def test_limits_are_as_the_file_says_and_a_retention_it_does_not_name_stays(
        self, tmp_path, limits, settings, expected
    ):
        assert lines(tmp_path, f'[[queues.limits]]\nqueue = "q"\n{limits}\n', a_queue(**settings)) == expected

    def test_a_queue_has_the_forwards_that_the_file_names_for_it(self, tmp_path):
        text = FORWARDS.format("b") + FORWARDS.format("c")
        settled = a_queue("a", forwards=(Forward("b"), Forward("c")))
        other = a_queue("a", forwards=(Forward("b"), Forward("z")))
        b, c = a_queue("b"), a_queue("c")

        assert lines(tmp_path, text) == [
            "+ queue a",
            "+ queue b",
            "+ queue c",
            '~ queue a: forwards [] -> [{"queue":"b","headers":{}},{"queue":"c","headers":{}}]',
        ]
        assert lines(tmp_path, text, settled, b, c) == []
        assert len(lines(tmp_path, text, other, b, c)) == 1

    def test_forwards_of_a_queue_for_which_the_file_names_none_stay(self, tmp_path):
        assert lines(tmp_path, CONSUMER, a_queue("q", a_consumer(), forwards=(Forward("b"),))) == []

    def test_limits_that_the_file_names_no_more_are_lifted_for_its_other_queues_only(self, tmp_path):
        q, other = a_queue("q", a_consumer(), max_backlog_messages=5), a_queue("other", max_backlog_messages=5)

        assert lines(tmp_path, CONSUMER, q, other) == ["~ queue q: max_backlog_messages 5 -> none"]


class TestConsumers:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (f"{CONSUMER}max_batch_size = 20\nmax_retries = 3\n", "worker shop, batch_size 20, max_retries 3"),
            (f'{CONSUMER}type = "http_pull"\n', "http_pull"),
            (PUSH, "http_push https://example.com/in?…"),
            (
                f'{CONSUMER}backoff = {{ kind = "fixed", base_seconds = 2 }}\n',
                'worker shop, backoff {"kind":"fixed","base_seconds":2}',
            ),
        ],
    )
    def test_a_new_consumer_is_told_with_what_the_file_names(self, tmp_path, text, expected):
        assert lines(tmp_path, text, a_queue()) == [f"+ consumer of q: {expected}"]

    @pytest.mark.parametrize(
        ("text", "present", "expected"),
        [
            (CONSUMER, {}, None),
            (f"{CONSUMER}max_retries = 3\n", {}, None),
            (f"{CONSUMER}max_retries = 5\n", {}, "max_retries 3 -> 5"),
            (CONSUMER, {"settings": {"batch_size": 50}}, "batch_size 50 -> 10"),
            (
                f'{CONSUMER}max_retries = 5\ndead_letter_queue = "q-dlq"\n',
                {},
                "max_retries 3 -> 5, dead_letter_queue none -> q-dlq",
            ),
            (CONSUMER, {"dead_letter_queue": "q-dlq"}, "dead_letter_queue q-dlq -> none"),
            (CONSUMER, {"applied_by": None}, "applied_by none -> shop"),
            (
                CONSUMER,
                {"script_name": "other", "applied_by": "other"},
                "script_name other -> shop, applied_by other -> shop",
            ),
            (
                CONSUMER,
                {"type": "http_pull"},
                "type http_pull -> worker, script_name none -> shop, batch_size 5 -> 10",
            ),
            (
                PUSH,
                {"type": "http_push", "url": "https://example.com/old"},
                "url https://example.com/old -> https://example.com/in?…",
            ),
            (PUSH, {"type": "http_push", "url": "https://example.com/in?token=abc"}, None),
            (
                f'{CONSUMER}backoff = {{ kind = "linear", base_seconds = 5 }}\n',
                {"settings": {"backoff": {"kind": "linear", "base_seconds": 5}}},
                None,
            ),
        ],
    )
    def test_a_consumer_is_changed_to_what_the_file_says(self, tmp_path, text, present, expected):
        queues = [a_queue("q", a_consumer(**present)), a_queue("q-dlq")]

        assert lines(tmp_path, text, *queues) == ([f"~ consumer of q: {expected}"] if expected else [])

    def test_a_secret_is_compared_and_never_shown(self, tmp_path):
        old, new = "whsec_" + "A" * 32, "whsec_" + "B" * 32
        queue = a_queue("q", a_consumer(type="http_push", url="https://example.com/in?token=abc", secret=old))
        file = read_toml(tmp_path, f'name = "shop"\n{PUSH}secret_variable = "S"\n')

        (change,) = plan(file, [queue], {"S": new})

        assert change.line == "~ consumer of q: secret replaced"
        assert isinstance(change, SetConsumer)
        assert new not in repr(change)
        assert plan(file, [queue], {"S": old}) == ()


class TestWhatTheFileNoLongerNames:
    @pytest.mark.parametrize(
        ("consumer", "expected"),
        [
            (a_consumer(), ["- consumer of q: worker shop (its messages stay)"]),
            (a_consumer(applied_by=None), ["- consumer of q: worker shop (its messages stay)"]),
            (a_consumer(type="http_pull"), ["- consumer of q: http_pull (its messages stay)"]),
            (a_consumer(type="http_pull", applied_by=None), []),
            (a_consumer(script_name="other", applied_by="other"), []),
            (a_consumer(script_name="other", applied_by=None), []),
            (a_consumer(script_name="shop", applied_by="other"), []),
            (a_consumer(type="http_pull", applied_by="other"), []),
            (None, []),
        ],
    )
    def test_its_own_consumers_are_detached_and_those_of_others_stay(self, tmp_path, consumer, expected):
        assert lines(tmp_path, "", a_queue("q", consumer)) == expected

    def test_a_queue_it_still_sends_to_loses_its_consumer_all_the_same(self, tmp_path):
        queue = a_queue("q", a_consumer(), producers=("shop",))

        text = '[[queues.producers]]\nbinding = "Q"\nqueue = "q"\n'

        assert lines(tmp_path, text, queue) == ["- consumer of q: worker shop (its messages stay)"]

    def test_it_is_a_producer_no_more_and_the_other_producers_stay(self, tmp_path):
        queues = [a_queue("a", producers=("other",)), a_queue("b", producers=("other", "shop"))]

        text = '[[queues.producers]]\nbinding = "A"\nqueue = "a"\n[[queues.producers]]\nbinding = "B"\nqueue = "a"\n'

        assert lines(tmp_path, text, *queues) == ["+ producer of a: shop", "- producer of b: shop"]

    def test_queues_are_never_deleted(self, tmp_path):
        assert lines(tmp_path, "", a_queue("q"), a_queue("r")) == []


NEED = QueueNeed(
    name="q",
    consumer={
        "type": "worker",
        "script_name": "letters",
        "applied_by": "apps/letters",
        "dead_letter_queue": "dead",
        "settings": {
            "batch_size": 5,
            "max_attempts": 3,
            "flush_on": "high",
            "backoff": {"kind": "exponential", "base_seconds": 60},
        },
    },
)


def needed(folder, text, *queues):
    return plan(read_toml(folder, f'name = "shop"\n{text}'), queues, {}, [NEED])


def of_need():
    return make_consumer(id="c", queue_name="q", now_ms=0, **NEED.consumer)


class TestQueuesOfApplications:
    def test_the_consumer_keeps_what_the_file_leaves_out(self, tmp_path):
        changes = needed(tmp_path, f"{CONSUMER}max_batch_size = 10\nmax_retries = 5\n", a_queue(consumer=of_need()))

        made = make_consumer(id="c", queue_name="q", now_ms=0, **changes[0].given)
        [line] = [change.line for change in changes]
        assert line.partition(": ")[2].split(", ") == [
            "script_name letters -> shop",
            "batch_size 5 -> 10",
            "max_retries 3 -> 5",
            "applied_by apps/letters -> shop",
        ]
        assert (made.dead_letter_queue, made.settings.max_attempts, made.settings.flush_on) == ("dead", 3, "high")

    def test_a_second_start_changes_nothing(self, tmp_path):
        text = f'{CONSUMER}max_batch_size = 10\ndead_letter_queue = "other"\n'
        change = needed(tmp_path, text, a_queue(consumer=of_need()))[-1]
        queue = a_queue(consumer=make_consumer(id="c", queue_name="q", now_ms=0, **change.given))

        assert needed(tmp_path, text, queue, a_queue("other")) == ()

    def test_a_consumer_of_another_type_has_nothing_of_the_application(self, tmp_path):
        [change] = needed(tmp_path, f'{CONSUMER}type = "http_pull"\n', a_queue(consumer=of_need()))

        assert (change.given["dead_letter_queue"], change.given["settings"]) == ("", {})

    @pytest.mark.parametrize("text", [f'{CONSUMER}handler = "orders:handle"\n', f'main = "src/entry.py"\n{CONSUMER}'])
    def test_a_consumer_with_a_handler_of_the_file_has_nothing_of_the_application(self, tmp_path, text):
        [change] = needed(tmp_path, text, a_queue(consumer=of_need()))

        assert (change.given["dead_letter_queue"], change.given["settings"]) == ("", {})

    def test_the_consumer_comes_back_as_it_was_when_the_file_names_it_no_more(self, tmp_path):
        [named] = needed(tmp_path, f"{CONSUMER}max_batch_size = 10\n", a_queue(consumer=of_need()))
        queue = a_queue(consumer=make_consumer(id="c", queue_name="q", now_ms=0, **named.given))

        [change] = needed(tmp_path, "", queue)

        assert change == SetConsumer(
            queue="q",
            line="~ consumer of q: script_name shop -> letters, batch_size 10 -> 5, applied_by shop -> apps/letters",
            given=NEED.consumer,
        )

    def test_the_consumer_of_another_script_is_left_to_it(self, tmp_path):
        assert needed(tmp_path, "", a_queue(consumer=a_consumer(applied_by="another"))) == ()
