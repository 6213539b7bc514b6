import json

import pytest

from millrace.wrangler.file import ConsumerEntry, ForwardEntry, Producer, QueueLimits
from millrace.wrangler.reading import read_wrangler
from tests.unit.wrangler_files import problems, read_json, read_toml, refusal, warnings, write

CONTRACT = """\
name = "my-worker"
main = "src/index.js"
[[queues.producers]]
binding = "MY_QUEUE"      # required, string: env.MY_QUEUE
queue = "my-queue"        # name
delivery_delay = 60       # deprecated, ignored
remote = false
[[queues.consumers]]
queue = "my-queue"        # required
type = "worker"           # optional; only "worker"
max_batch_size = 10
max_batch_timeout = 5     # seconds
max_retries = 3
dead_letter_queue = "my-dlq"
max_concurrency = 2
retry_delay = 30
visibility_timeout_ms = 5000
[[env.staging.queues.consumers]]
queue = "my-queue-staging"
"""


class TestReading:
    def test_the_block_of_the_contract_loads(self, tmp_path):
        file = read_toml(tmp_path, CONTRACT)

        assert file.path == tmp_path / "wrangler.toml"
        assert file.name == "my-worker"
        assert (file.main, file.main_path) == ("src/index.js", "main")
        assert file.producers == (Producer(path="queues.producers[0]", binding="MY_QUEUE", queue="my-queue"),)
        assert file.consumers == (
            ConsumerEntry(
                path="queues.consumers[0]",
                queue="my-queue",
                type="worker",
                dead_letter_queue="my-dlq",
                settings={
                    "batch_size": 10,
                    "max_wait_time_ms": 5000,
                    "max_retries": 3,
                    "max_concurrency": 2,
                    "retry_delay": 30,
                    "visibility_timeout_ms": 5000,
                },
            ),
        )
        assert file.warnings == (
            (
                f'{file.path}:6: "queues.producers[0].delivery_delay" is deprecated and has no effect; '
                'use "wrangler queues update" instead.'
            ),
        )

    def test_the_block_of_the_contract_loads_for_its_environment(self, tmp_path):
        file = read_toml(tmp_path, CONTRACT, "staging")

        assert file.name == "my-worker-staging"
        assert file.main == "src/index.js"
        assert file.producers == ()
        assert file.consumers == (ConsumerEntry(path="env.staging.queues.consumers[0]", queue="my-queue-staging"),)
        assert file.warnings == ()

    @pytest.mark.parametrize("name", ["wrangler.json", "wrangler.jsonc"])
    def test_json_may_have_comments_and_trailing_commas(self, tmp_path, name):
        text = """\
        // The worker behind https://example.com
        {
          "name": "edge", /* two
          lines */
          "vars": {"URL": "https://example.com/*x*/", "LIST": [1, 2,],},
          "queues": {"producers": [{"queue": "message-delivery", "binding": "MESSAGE_QUEUE"},], /* , */ },
        }
        """

        file = read_wrangler(write(tmp_path, text, name))

        assert file.variables == {"URL": "https://example.com/*x*/", "LIST": [1, 2]}
        assert [(producer.binding, producer.queue) for producer in file.producers] == [
            ("MESSAGE_QUEUE", "message-delivery")
        ]

    def test_the_same_structure_reads_the_same_from_toml_and_json(self, tmp_path):
        value = {
            "name": "a",
            "queues": {"consumers": [{"queue": "q", "max_retries": 1}]},
            "triggers": {"crons": ["* * * * *"]},
        }
        text = 'name = "a"\n[[queues.consumers]]\nqueue = "q"\nmax_retries = 1\n[triggers]\ncrons = ["* * * * *"]\n'

        from_json, from_toml = read_json(tmp_path, value), read_toml(tmp_path, text)

        assert from_json.name == from_toml.name == "a"
        assert from_json.consumers == from_toml.consumers
        assert from_json.crons == from_toml.crons == ("* * * * *",)

    @pytest.mark.parametrize("text", ["", "\ufeff", "\r\n"])
    def test_an_empty_toml_file_says_nothing(self, tmp_path, text):
        file = read_toml(tmp_path, text)

        assert (file.name, file.variables, file.producers, file.consumers) == (None, {}, (), ())
        assert (file.limits, file.crons, file.warnings) == ((), (), ())

    def test_a_byte_order_mark_is_no_part_of_the_text(self, tmp_path):
        assert read_wrangler(write(tmp_path, '\ufeff{"name": "a"}', "wrangler.json")).name == "a"

    def test_other_sections_are_left_alone(self, tmp_path):
        value = {
            "main": "src/index.js",
            "compatibility_date": "2026-01-01",
            "durable_objects": {
                "bindings": [
                    {
                        "binding": "DOCUMENT_COORDINATOR",
                        "class_name": "DocumentCoordinator",
                        "script_name": "queue-processor",
                    },
                    {"name": "OTHER", "class_name": "Other"},
                ]
            },
        }

        assert read_json(tmp_path, value).warnings == ()

    @pytest.mark.parametrize("value", ["plain", "", "// no comment", 5, 0.5, True, None, {"a": [1, "é"]}])
    def test_a_variable_is_the_value_that_it_is_in_the_file(self, tmp_path, value):
        assert read_json(tmp_path, {"vars": {"V": value}}).variables == {"V": value}

    def test_a_date_in_toml_becomes_text(self, tmp_path):
        assert read_toml(tmp_path, "[vars]\nSINCE = 2026-01-31\n").variables == {"SINCE": "2026-01-31"}


class TestProducersAndLimits:
    @pytest.mark.parametrize(
        ("binding", "queue"),
        [("EVENT_QUEUE", "event-queue"), ("Q", "q"), ("DOCUMENT_INGESTION_QUEUE", "document-ingestion-queue")],
    )
    def test_a_producer_without_a_queue_takes_it_from_its_binding(self, tmp_path, binding, queue):
        file = read_json(tmp_path, {"queues": {"producers": [{"binding": binding}]}})

        assert file.producers[0].queue == queue
        assert warnings(file) == [
            f'"queues.producers[0]" has no "queue" field; "{queue}" is taken from its binding "{binding}".'
        ]

    def test_limits_are_read_with_the_retention_in_seconds(self, tmp_path):
        text = """\
        [[queues.limits]]
        queue = "a"
        max_backlog_messages = 1000
        max_backlog_bytes = 1_000_000
        retention = 3600
        [[queues.limits]]
        queue = "b"
        """

        file = read_toml(tmp_path, text)

        assert file.limits == (
            QueueLimits(
                path="queues.limits[0]",
                queue="a",
                max_backlog_messages=1000,
                max_backlog_bytes=1_000_000,
                retention_seconds=3600,
            ),
            QueueLimits(path="queues.limits[1]", queue="b"),
        )
        assert file.warnings == ()

    def test_doubles_and_forwards_are_read(self, tmp_path):
        text = """\
        [[queues.limits]]
        queue = "a"
        deduplication_seconds = 60
        deduplicate_content = true
        [[queues.forwards]]
        queue = "a"
        to = "b"
        [[queues.forwards]]
        queue = "a"
        to = "c"
        headers = { Gift = "yes" }
        """

        file = read_toml(tmp_path, text)

        (limits,) = file.limits
        assert (limits.deduplication_seconds, limits.deduplicate_content) == (60, True)
        assert file.forwards == (
            ForwardEntry(path="queues.forwards[0]", queue="a", to="b"),
            ForwardEntry(path="queues.forwards[1]", queue="a", to="c", headers={"Gift": "yes"}),
        )
        assert file.warnings == ()


class TestConsumers:
    @pytest.mark.parametrize(
        ("given_", "settings"),
        [
            ({}, {}),
            ({"max_batch_timeout": 0.25}, {"max_wait_time_ms": 250}),
            ({"max_batch_timeout": 1.0006}, {"max_wait_time_ms": 1001}),
            ({"max_batch_timeout": 0}, {"max_wait_time_ms": 0}),
            ({"max_batch_size": 10.0}, {"batch_size": 10}),
            ({"max_retries": -1}, {"max_retries": -1}),
            ({"max_concurrency": 9999, "retry_delay": 1}, {"max_concurrency": 9999, "retry_delay": 1}),
        ],
    )
    def test_settings_are_those_of_the_file_in_the_apis_units(self, tmp_path, given_, settings):
        file = read_json(tmp_path, {"queues": {"consumers": [{"queue": "q", **given_}]}})

        assert file.consumers[0].settings == settings

    def test_a_pull_consumer_is_accepted_without_a_word(self, tmp_path):
        file = read_json(tmp_path, {"queues": {"consumers": [{"queue": "q", "type": "http_pull"}]}})

        assert file.consumers[0].type == "http_pull"
        assert file.warnings == ()

    def test_our_own_keys_are_read_without_a_word(self, tmp_path):
        text = """\
        [[queues.consumers]]
        queue = "q"
        handler = "handlers.py:bill"
        max_attempts = 3
        flush_on = "high"
        head_start_seconds = 60
        rate_limit = { messages = 100, per_seconds = 60 }
        backoff = { kind = "exponential", base_seconds = 2, factor = 2, cap_seconds = 3600, jitter = 0.1 }
        """

        file = read_toml(tmp_path, text)

        backoff = {"kind": "exponential", "base_seconds": 2, "factor": 2, "cap_seconds": 3600, "jitter": 0.1}
        assert file.consumers[0].handler == "handlers.py:bill"
        assert file.consumers[0].settings == {
            "max_attempts": 3,
            "backoff": backoff,
            "flush_on": "high",
            "head_start_seconds": 60,
            "rate_limit": {"messages": 100, "per_seconds": 60},
        }
        assert file.warnings == ()

    def test_a_consumer_may_push_to_a_url(self, tmp_path):
        given_ = {"type": "http_push", "url": "https://example.com/in", "secret_variable": "PUSH_SECRET"}

        file = read_json(tmp_path, {"queues": {"consumers": [{"queue": "q", **given_}]}})

        entry = file.consumers[0]
        assert (entry.type, entry.url, entry.secret_variable) == ("http_push", "https://example.com/in", "PUSH_SECRET")
        assert file.warnings == ()

    def test_an_empty_dead_letter_queue_is_none(self, tmp_path):
        file = read_json(tmp_path, {"queues": {"consumers": [{"queue": "q", "dead_letter_queue": ""}]}})

        assert file.consumers[0].dead_letter_queue is None


class TestEnvironments:
    def test_queues_and_vars_are_not_inherited(self, tmp_path):
        value = {"vars": {"A": "1"}, "queues": {"producers": [{"binding": "Q", "queue": "q"}]}, "env": {"staging": {}}}

        file = read_json(tmp_path, value, "staging")

        assert (file.producers, file.variables) == ((), {})
        assert [warning.split(".")[0] for warning in warnings(file)] == [
            '"queues" exists at the top level, but not on "env',
            '"vars" exists at the top level, but not on "env',
        ]
        assert '"queues" exists at the top level, but not on "env.staging"' in file.warnings[0]

    def test_without_an_environment_the_top_level_counts_alone(self, tmp_path):
        value = {"env": {"staging": {"queues": [], "vars": 1}}}

        assert read_json(tmp_path, value).warnings == ()
        assert read_json(tmp_path, value, "").name is None

    def test_problems_and_warnings_carry_the_environment_in_their_paths(self, tmp_path):
        entry = {"queue": "q", "foo": 1}

        file = read_json(tmp_path, {"env": {"staging": {"queues": {"consumers": [entry]}}}}, "staging")
        assert warnings(file) == ['Unexpected fields found in env.staging.queues.consumers[0] field: "foo"']
        assert problems(tmp_path, {"env": {"staging": {"queues": {"producers": [{}]}}}}, "staging") == [
            '"env.staging.queues.producers[0]" bindings should have a string "binding" field but got {}.'
        ]

    @pytest.mark.parametrize(
        ("top", "own", "name"),
        [
            ({"name": "a"}, {}, "a-staging"),
            ({"name": "a"}, {"name": "b"}, "b"),
            ({}, {"name": "b"}, "b"),
            ({}, {}, None),
        ],
    )
    def test_the_name_carries_the_environment_unless_it_has_its_own(self, tmp_path, top, own, name):
        assert read_json(tmp_path, {**top, "env": {"staging": own}}, "staging").name == name

    @pytest.mark.parametrize(
        ("own", "crons"),
        [
            ({}, ("0 * * * *",)),
            ({"triggers": {"crons": []}}, ()),
            ({"triggers": {"crons": ["1 * * * *"]}}, ("1 * * * *",)),
        ],
    )
    def test_crons_are_inherited_until_the_environment_has_its_own(self, tmp_path, own, crons):
        value = {"triggers": {"crons": ["0 * * * *"]}, "env": {"staging": own}}

        assert read_json(tmp_path, value, "staging").crons == crons

    def test_main_is_inherited_until_the_environment_has_its_own(self, tmp_path):
        value = {"main": "a.py", "env": {"staging": {}, "live": {"main": "b.py"}}}

        staging, live = read_json(tmp_path, value, "staging"), read_json(tmp_path, value, "live")

        assert (staging.main, staging.main_path) == ("a.py", "main")
        assert (live.main, live.main_path) == ("b.py", "env.live.main")

    @pytest.mark.parametrize(
        ("value", "names"),
        [
            ({"env": {"staging": {}, "production": {}}}, '["staging","production"]'),
            ({"env": {}}, "[]"),
            ({"env": 5}, "[]"),
            ({}, "[]"),
        ],
    )
    def test_an_unknown_environment_is_an_error_with_those_there_are(self, tmp_path, value, names):
        path = write(tmp_path, json.dumps(value), "wrangler.json")

        line = ":1" if "env" in value else ""
        assert refusal(path, "live") == (
            f'{path}{line}: No environment found in configuration with name "live". '
            f"The available configured environment names are: {names}."
        )

    def test_an_environment_is_an_object(self, tmp_path):
        path = write(tmp_path, '{"env": {"staging": 1}}', "wrangler.json")

        assert refusal(path, "staging") == f'{path}:1: The field "env.staging" should be an object but got 1.'

    @pytest.mark.parametrize(
        ("value", "environment", "warning"),
        [
            ({"queue": {}}, None, 'Unexpected fields found in top-level field: "queue"; is "queues" meant?'),
            (
                {"env": {"staging": {"queue": {}}}},
                "staging",
                'Unexpected fields found in env.staging field: "queue"; is "queues" meant?',
            ),
            ({"triggers": {"cron": []}}, None, 'Unexpected fields found in triggers field: "cron"'),
        ],
    )
    def test_a_misspelt_section_is_not_left_out_in_silence(self, tmp_path, value, environment, warning):
        assert warnings(read_json(tmp_path, value, environment)) == [warning]
