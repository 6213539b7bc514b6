import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import ConfigurationError
from millrace.jsonc import blank
from millrace.wrangler import BacklogLimit, ConsumerEntry, Producer, find_wrangler, read_wrangler

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


def write(folder, text, name="wrangler.toml"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read_toml(folder, text, environment=None):
    return read_wrangler(write(folder, text), environment)


def read_json(folder, value, environment=None):
    return read_wrangler(write(folder, json.dumps(value), "wrangler.json"), environment)


def problems(folder, value, environment=None):
    with pytest.raises(ConfigurationError) as refused:
        read_json(folder, value, environment)
    first, *lines = str(refused.value).split("\n")
    assert first == f"{folder / 'wrangler.json'}:"
    return [line.strip() for line in lines]


def refusal(path, environment=None):
    with pytest.raises(ConfigurationError) as refused:
        read_wrangler(path, environment)
    return str(refused.value)


class TestReading:
    def test_the_block_of_the_contract_loads(self, tmp_path):
        file = read_toml(tmp_path, CONTRACT)

        assert file.path == tmp_path / "wrangler.toml"
        assert file.name == "my-worker"
        assert file.producers == (Producer("MY_QUEUE", "my-queue"),)
        assert file.consumers == (
            ConsumerEntry(
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
            '"queues.producers[0].delivery_delay" is deprecated and has no effect; use "wrangler queues update" instead.',
        )

    def test_the_block_of_the_contract_loads_for_its_environment(self, tmp_path):
        file = read_toml(tmp_path, CONTRACT, "staging")

        assert file.name == "my-worker-staging"
        assert file.producers == ()
        assert file.consumers == (ConsumerEntry(queue="my-queue-staging", settings={}),)
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

        assert file.variables == {"URL": "https://example.com/*x*/", "LIST": "[1,2]"}
        assert file.producers == (Producer("MESSAGE_QUEUE", "message-delivery"),)

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

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("plain", "plain"),
            ("", ""),
            (5, "5"),
            (0.5, "0.5"),
            (True, "true"),
            (None, "null"),
            ({"a": [1, "é"]}, '{"a":[1,"é"]}'),
        ],
    )
    def test_a_variable_that_is_not_a_string_becomes_json(self, tmp_path, value, text):
        assert read_json(tmp_path, {"vars": {"V": value}}).variables == {"V": text}

    def test_a_date_in_toml_becomes_a_json_string(self, tmp_path):
        assert read_toml(tmp_path, "[vars]\nSINCE = 2026-01-31\n").variables == {"SINCE": '"2026-01-31"'}


class TestProducersAndLimits:
    @pytest.mark.parametrize(
        ("binding", "queue"),
        [("EVENT_QUEUE", "event-queue"), ("Q", "q"), ("DOCUMENT_INGESTION_QUEUE", "document-ingestion-queue")],
    )
    def test_a_producer_without_a_queue_takes_it_from_its_binding(self, tmp_path, binding, queue):
        file = read_json(tmp_path, {"queues": {"producers": [{"binding": binding}]}})

        assert file.producers == (Producer(binding, queue),)
        assert file.warnings == (
            f'"queues.producers[0]" has no "queue" field; "{queue}" is taken from its binding "{binding}".',
        )

    def test_limits_are_read_and_their_retention_is_left_alone(self, tmp_path):
        text = """\
        [[queues.limits]]
        queue = "a"
        max_backlog_messages = 1000
        max_backlog_bytes = 1_000_000
        retention = "4d"
        [[queues.limits]]
        queue = "b"
        """

        file = read_toml(tmp_path, text)

        assert file.limits == (
            BacklogLimit(queue="a", max_backlog_messages=1000, max_backlog_bytes=1_000_000),
            BacklogLimit(queue="b"),
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

    def test_our_own_keys_are_known(self, tmp_path):
        ours = {"handler": "app:handle", "backoff": "exponential", "max_attempts": 3, "flush_on": ["high"]}

        assert read_json(tmp_path, {"queues": {"consumers": [{"queue": "q", **ours}]}}).warnings == ()

    def test_an_empty_dead_letter_queue_is_none(self, tmp_path):
        file = read_json(tmp_path, {"queues": {"consumers": [{"queue": "q", "dead_letter_queue": ""}]}})

        assert file.consumers[0].dead_letter_queue is None


class TestProblems:
    @pytest.mark.parametrize(
        ("queues", "problem"),
        [
            ([], 'The field "queues" should be an object but got [].'),
            (None, 'The field "queues" should be an object but got null.'),
            ({"consumers": {"queue": "q"}}, 'The field "queues.consumers" should be an array but got {"queue":"q"}.'),
            ({"producers": "é"}, 'The field "queues.producers" should be an array but got "é".'),
            ({"limits": 1}, 'The field "queues.limits" should be an array but got 1.'),
            ({"consumers": ["q"]}, '"queues.consumers[0]" should be an object but got "q".'),
            ({"producers": [[]]}, '"queues.producers[0]" bindings should be an object but got [].'),
            (
                {"consumers": [{"queue": "q"}, {"max_retries": 3}]},
                '"queues.consumers[1]" should have a string "queue" field but got {"max_retries":3}.',
            ),
            (
                {"consumers": [{"queue": "q"}, {"queue": "r", "max_batch_size": "10"}]},
                '"queues.consumers[1]" should, optionally, have a number "max_batch_size" field but got {"queue":"r","max_batch_size":"10"}.',
            ),
            (
                {"producers": [{"queue": "q"}]},
                '"queues.producers[0]" bindings should have a string "binding" field but got {"queue":"q"}.',
            ),
            (
                {"producers": [{"binding": "Q", "queue": 1}]},
                '"queues.producers[0]" bindings should, optionally, have a string "queue" field but got {"binding":"Q","queue":1}.',
            ),
            (
                {"limits": [{"max_backlog_bytes": 1}]},
                '"queues.limits[0]" should have a string "queue" field but got {"max_backlog_bytes":1}.',
            ),
            (
                {"limits": [{"queue": "q", "max_backlog_messages": None}]},
                '"queues.limits[0]" should, optionally, have a number "max_backlog_messages" field but got {"queue":"q","max_backlog_messages":null}.',
            ),
        ],
    )
    def test_a_wrong_shape_is_named_by_its_path(self, tmp_path, queues, problem):
        assert problems(tmp_path, {"queues": queues}) == [problem]

    @pytest.mark.parametrize(
        ("kind", "key", "value"),
        [
            ("number", "max_concurrency", None),
            ("number", "max_retries", True),
            ("number", "retry_delay", [1]),
            ("number", "max_batch_timeout", "5s"),
            ("number", "visibility_timeout_ms", {}),
            ("string", "dead_letter_queue", None),
            ("string", "dead_letter_queue", 1),
            ("string", "type", None),
        ],
    )
    def test_a_value_of_the_wrong_type_is_an_error(self, tmp_path, kind, key, value):
        entry = {"queue": "q", key: value}

        (problem,) = problems(tmp_path, {"queues": {"consumers": [entry]}})

        shown = json.dumps(entry, separators=(",", ":"))
        assert problem == f'"queues.consumers[0]" should, optionally, have a {kind} "{key}" field but got {shown}.'

    @pytest.mark.parametrize("number", ["2.5", "nan", "inf", "-inf"])
    @pytest.mark.parametrize("key", ["max_retries", "max_batch_size", "visibility_timeout_ms"])
    def test_a_number_that_is_not_whole_is_an_error(self, tmp_path, key, number):
        path = write(tmp_path, f'[[queues.consumers]]\nqueue = "q"\n{key} = {number}\n')

        assert f'"queues.consumers[0].{key}" has an invalid value ' in refusal(path)
        assert refusal(path).endswith("Only whole numbers can be configured.")

    @pytest.mark.parametrize("number", ["nan", "inf", "1e308"])
    def test_seconds_without_end_are_an_error(self, tmp_path, number):
        path = write(tmp_path, f'[[queues.consumers]]\nqueue = "q"\nmax_batch_timeout = {number}\n')

        assert '"queues.consumers[0].max_batch_timeout" has an invalid value ' in refusal(path)

    @pytest.mark.parametrize("kind", ["kafka", "", "WORKER"])
    def test_an_unknown_type_of_consumer_is_an_error(self, tmp_path, kind):
        (problem,) = problems(tmp_path, {"queues": {"consumers": [{"queue": "q", "type": kind}]}})

        assert problem == (
            f'"queues.consumers[0].type" has an invalid value "{kind}". '
            'Only "worker" and "http_pull" consumers can be configured in your Wrangler configuration.'
        )

    @pytest.mark.parametrize("name", ["consumers", "limits"])
    def test_a_queue_named_twice_is_an_error_with_both_places(self, tmp_path, name):
        entries = [{"queue": "a"}, {"queue": "b"}, {"queue": "a"}]

        assert problems(tmp_path, {"queues": {name: entries}}) == [
            f'"queues.{name}[0]" and "queues.{name}[2]" both name queue "a"; expected at most one.'
        ]

    def test_many_producers_may_send_to_one_queue(self, tmp_path):
        entries = [{"binding": "A", "queue": "q"}, {"binding": "B", "queue": "q"}]

        assert len(read_json(tmp_path, {"queues": {"producers": entries}}).producers) == 2

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            ({"name": 5}, 'Expected "name" to be of type string but got 5.'),
            ({"vars": ["a"]}, 'The field "vars" should be an object but got ["a"].'),
            ({"triggers": "*"}, 'The field "triggers" should be an object but got "*".'),
            ({"triggers": {"crons": "*"}}, 'The field "triggers.crons" should be an array of strings but got "*".'),
            ({"triggers": {"crons": [1]}}, 'The field "triggers.crons" should be an array of strings but got [1].'),
        ],
    )
    def test_a_wrong_section_is_named(self, tmp_path, value, problem):
        assert problems(tmp_path, value) == [problem]

    def test_all_problems_are_named_at_once(self, tmp_path):
        value = {
            "name": 5,
            "queues": {"producers": [{}], "consumers": [{"queue": "q", "max_retries": None, "type": "x"}]},
        }

        found = problems(tmp_path, value)

        assert [line.split(" ")[0] for line in found] == [
            "Expected",
            '"queues.producers[0]"',
            '"queues.consumers[0].type"',
            '"queues.consumers[0]"',
        ]


class TestWarnings:
    @pytest.mark.parametrize(
        ("queues", "warning"),
        [
            ({"foo": 1}, 'Unexpected fields found in queues field: "foo"'),
            ({"consumers": [{"queue": "q", "foo": 1}]}, 'Unexpected fields found in queues.consumers[0] field: "foo"'),
            (
                {"consumers": [{"queue": "q", "a": 1, "b": 2}]},
                'Unexpected fields found in queues.consumers[0] field: "a","b"',
            ),
            ({"limits": [{"queue": "q", "foo": 1}]}, 'Unexpected fields found in queues.limits[0] field: "foo"'),
            (
                {"producers": [{"binding": "Q", "queue": "q", "max_retries": 2.5}]},
                'Unexpected fields found in queues.producers[0] field: "max_retries"',
            ),
        ],
    )
    def test_an_unknown_key_is_a_warning(self, tmp_path, queues, warning):
        assert read_json(tmp_path, {"queues": queues}).warnings == (warning,)


class TestEnvironments:
    def test_queues_and_vars_are_not_inherited(self, tmp_path):
        value = {"vars": {"A": "1"}, "queues": {"producers": [{"binding": "Q", "queue": "q"}]}, "env": {"staging": {}}}

        file = read_json(tmp_path, value, "staging")

        assert (file.producers, file.variables) == ((), {})
        assert [warning.split(".")[0] for warning in file.warnings] == [
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

        assert read_json(tmp_path, {"env": {"staging": {"queues": {"consumers": [entry]}}}}, "staging").warnings == (
            'Unexpected fields found in env.staging.queues.consumers[0] field: "foo"',
        )
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

        assert refusal(path, "live") == (
            f'{path}: No environment found in configuration with name "live". '
            f"The available configured environment names are: {names}."
        )

    def test_an_environment_is_an_object(self, tmp_path):
        path = write(tmp_path, '{"env": {"staging": 1}}', "wrangler.json")

        assert refusal(path, "staging") == f'{path}: The field "env.staging" should be an object but got 1.'


class TestFilesThatCannotBeRead:
    @pytest.mark.parametrize(
        ("name", "text", "place"),
        [
            ("wrangler.toml", "name = \n", "line 1, column 8"),
            ("wrangler.toml", 'name = "a"\n[queues\n', "line 2, column 8"),
            ("wrangler.toml", 'a = 1\r\nb = """', "line 2, column 8, the end of the document"),
            ("wrangler.toml", "[a]\n[a]\n", "line 2, column 3"),
            ("wrangler.json", "", "line 1 column 1"),
            ("wrangler.json", '{\n  // a comment\n  "name": }', "line 3 column 11"),
            ("wrangler.jsonc", '{\n  /* two\n lines */ "a": 1 "b": 2}', "line 3 column 18"),
            ("wrangler.jsonc", '{"a": [,]}', "line 1 column 8"),
            ("wrangler.jsonc", '{"a": 1,,}', "line 1 column 9"),
            ("wrangler.jsonc", '{"a": 1 /* open', "line 1 column 9"),
            ("wrangler.jsonc", '{"a": "open // no comment\n}', "line 1 column 26"),
        ],
    )
    def test_a_malformed_file_is_named_with_line_and_column(self, tmp_path, name, text, place):
        path = write(tmp_path, text, name)

        assert refusal(path).startswith(f"{path}: ")
        assert place in refusal(path)

    @pytest.mark.parametrize("name", ["wrangler.toml", "wrangler.jsonc"])
    def test_a_file_nested_without_end_is_refused(self, tmp_path, name):
        path = write(tmp_path, ("a = " if name.endswith("toml") else "") + "[" * 100_000, name)

        assert refusal(path).startswith(f"{path}: ")

    @pytest.mark.parametrize("text", ["[]", "1", "null"])
    def test_a_file_holds_an_object(self, tmp_path, text):
        path = write(tmp_path, text, "wrangler.json")

        assert refusal(path) == f"{path}: should hold an object but got {text}."

    def test_a_missing_file_is_named(self, tmp_path):
        assert (
            refusal(tmp_path / "wrangler.toml")
            == f"{tmp_path / 'wrangler.toml'}: cannot be read: No such file or directory"
        )

    def test_a_folder_is_not_a_file(self, tmp_path):
        (tmp_path / "wrangler.toml").mkdir()

        assert "wrangler.toml: cannot be read: " in refusal(tmp_path / "wrangler.toml")

    @pytest.mark.parametrize("name", ["wrangler.toml", "wrangler.json"])
    def test_a_file_that_is_not_utf_8_is_named_with_its_line(self, tmp_path, name):
        path = write(tmp_path, b"# a comment\nname = '\xff'\n", name)

        assert refusal(path) == f"{path}: is not UTF-8 (at line 2)"

    def test_a_file_of_another_kind_is_refused(self, tmp_path):
        path = write(tmp_path, "name: a", "wrangler.yaml")

        assert refusal(path) == f"{path}: has an unknown ending; expected .json, .jsonc or .toml"


class TestFinding:
    @pytest.mark.parametrize(
        ("names", "chosen", "others"),
        [
            ([], None, None),
            (["wrangler.toml"], "wrangler.toml", None),
            (["wrangler.toml", "wrangler.jsonc"], "wrangler.jsonc", "wrangler.toml"),
            (["wrangler.toml", "wrangler.jsonc", "wrangler.json"], "wrangler.json", "wrangler.jsonc and wrangler.toml"),
        ],
    )
    def test_the_first_in_wranglers_order_is_chosen_and_the_others_are_named(self, tmp_path, names, chosen, others):
        for name in names:
            write(tmp_path, "", name)

        path, warning = find_wrangler(tmp_path)

        assert path == (tmp_path / chosen if chosen else None)
        assert warning == (f"{path} is read; beside it, and not read: {others}." if others else None)

    def test_a_folder_of_that_name_is_passed_over(self, tmp_path):
        (tmp_path / "wrangler.json").mkdir()
        write(tmp_path, "")

        assert find_wrangler(tmp_path) == (tmp_path / "wrangler.toml", None)


class TestBlanking:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("1 // one", "1       "),
            ("/* a\r\n b */ 1", "    \r\n      1"),
            ("[1, 2, ]", "[1, 2  ]"),
            ("[1, // one\n]", "[1        \n]"),
            ('{"a": 1 /* , */ , }', '{"a": 1           }'),
            (r'["a\" // b", "/*", "*/"]', r'["a\" // b", "/*", "*/"]'),
            (r'["\\", 1,]', r'["\\", 1 ]'),
            ('["a,]", ",}"]', '["a,]", ",}"]'),
            ("[ , ]", "[ , ]"),
            ("[/* none */,]", "[          ,]"),
        ],
    )
    def test_comments_and_trailing_commas_become_spaces(self, text, expected):
        assert blank(text) == expected

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists), st.sampled_from([None, 1]))
    def test_json_stays_as_it_is(self, value, indent):
        text = json.dumps(value, ensure_ascii=False, indent=indent)

        assert blank(text) == text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "worker", "q"]),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3),
)
NUMBERS = st.integers() | st.floats()
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {"queue": st.text(), "binding": st.text()},
        optional={"max_batch_timeout": NUMBERS, "max_retries": NUMBERS, "type": VALUES, "max_backlog_bytes": NUMBERS},
    ),
    max_size=3,
)
QUEUES = st.dictionaries(st.sampled_from(["producers", "consumers", "limits"]), ENTRIES | VALUES)


@given(st.dictionaries(st.sampled_from(["name", "vars", "triggers"]), VALUES), QUEUES, st.sampled_from([None, "a"]))
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path_factory, value, queues, environment):
    path = tmp_path_factory.getbasetemp() / "wrangler.json"
    path.write_text(json.dumps({**value, "queues": queues, "env": {"a": {"queues": queues}}}))

    # Anything else than these two would be a crash at the start.
    with contextlib.suppress(ConfigurationError):
        file = read_wrangler(path, environment)
        assert all(isinstance(number, int) for consumer in file.consumers for number in consumer.settings.values())
