import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import ConfigurationError
from millrace.wrangler.reading import read_wrangler
from tests.unit.wrangler_files import problems, read_json, refusal, warnings, write


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
                {"limits": [{"queue": "q", "deduplicate_content": 1}]},
                '"queues.limits[0]" should, optionally, have a boolean "deduplicate_content" field but got {"queue":"q","deduplicate_content":1}.',
            ),
            (
                {"forwards": [{"queue": "q"}]},
                '"queues.forwards[0]" should have a string "to" field but got {"queue":"q"}.',
            ),
            (
                {"forwards": [{"queue": "q", "to": "r", "headers": "all"}]},
                '"queues.forwards[0]" should, optionally, have an object "headers" field but got {"queue":"q","to":"r","headers":"all"}.',
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
            ("string", "handler", 1),
            ("string", "flush_on", ["high"]),
            ("number", "max_attempts", "3"),
            ("object", "backoff", "exponential"),
            ("object", "rate_limit", 100),
            ("number", "head_start_seconds", "60"),
        ],
    )
    def test_a_value_of_the_wrong_type_is_an_error(self, tmp_path, kind, key, value):
        entry = {"queue": "q", key: value}

        (problem,) = problems(tmp_path, {"queues": {"consumers": [entry]}})

        shown = json.dumps(entry, separators=(",", ":"))
        kind = f"an {kind}" if kind == "object" else f"a {kind}"
        assert problem == f'"queues.consumers[0]" should, optionally, have {kind} "{key}" field but got {shown}.'

    @pytest.mark.parametrize(
        ("entry", "problem"),
        [
            (
                {"handler": "bill"},
                (
                    '"queues.consumers[0].handler" has an invalid value "bill". '
                    'Expected "module:function" or "path.py:function".'
                ),
            ),
            (
                {"handler": ":bill"},
                (
                    '"queues.consumers[0].handler" has an invalid value ":bill". '
                    'Expected "module:function" or "path.py:function".'
                ),
            ),
            (
                {"type": "http_pull", "handler": "a:b"},
                (
                    '"queues.consumers[0].handler" belongs to consumers of type "worker" only, '
                    'but this one is of type "http_pull".'
                ),
            ),
            (
                {"url": "https://example.com"},
                (
                    '"queues.consumers[0].url" belongs to consumers of type "http_push" only, '
                    'but this one is of type "worker".'
                ),
            ),
            (
                {"type": "http_pull", "secret_variable": "S"},
                (
                    '"queues.consumers[0].secret_variable" belongs to consumers of type "http_push" only, '
                    'but this one is of type "http_pull".'
                ),
            ),
            (
                {"type": "http_push"},
                '"queues.consumers[0]" should have a string "url" field but got {"queue":"q","type":"http_push"}.',
            ),
        ],
    )
    def test_a_wrong_use_of_our_own_keys_is_an_error(self, tmp_path, entry, problem):
        assert problems(tmp_path, {"queues": {"consumers": [{"queue": "q", **entry}]}}) == [problem]

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
            'Only "worker", "http_pull" and "http_push" consumers can be configured in your Wrangler configuration.'
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
            (
                {"name": 5},
                'Expected "name" to be of type string, alphanumeric and lowercase with dashes only but got 5.',
            ),
            (
                {"name": "My shop"},
                'Expected "name" to be of type string, alphanumeric and lowercase with dashes only but got "My shop".',
            ),
            (
                {"queues": {"producers": [{"binding": "B", "queue": "q"}, {"binding": "B", "queue": "r"}]}},
                "B assigned to multiple Queue bindings. Bindings must have unique names.",
            ),
            (
                {"vars": {"B": "b"}, "queues": {"producers": [{"binding": "B", "queue": "q"}]}},
                "B assigned to Queue and Environment Variable bindings. Bindings must have unique names.",
            ),
            ({"main": ["a.py"]}, 'Expected "main" to be of type string but got ["a.py"].'),
            ({"vars": ["a"]}, 'The field "vars" should be an object but got ["a"].'),
            ({"triggers": "*"}, 'The field "triggers" should be an object but got "*".'),
            ({"triggers": {"crons": "*"}}, 'The field "triggers.crons" should be an array of strings but got "*".'),
            ({"triggers": {"crons": [1]}}, 'The field "triggers.crons" should be an array of strings but got [1].'),
            (
                {"triggers": {"crons": ["* * * * *", "0 0 * * * *"]}},
                (
                    '"triggers.crons[1]" has an invalid value "0 0 * * * *". '
                    "Expected 5 fields: minute, hour, day of the month, month, day of the week."
                ),
            ),
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
        assert warnings(read_json(tmp_path, {"queues": queues})) == [warning]


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

        line = place.split()[1].rstrip(",")
        assert refusal(path).startswith(f"{path}:{line}: ")
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

        assert refusal(path) == f"{path}:2: is not UTF-8"

    def test_a_file_of_another_kind_is_refused(self, tmp_path):
        path = write(tmp_path, "name: a", "wrangler.yaml")

        assert refusal(path) == f"{path}: has an unknown ending; expected .json, .jsonc or .toml"


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
    folder = tmp_path_factory.getbasetemp() / "whatever"
    folder.mkdir(exist_ok=True)
    path = folder / "wrangler.json"  # not right in the base, where other tests would find it on their way up
    path.write_text(json.dumps({**value, "queues": queues, "env": {"a": {"queues": queues}}}))

    # Anything else than these two would be a crash at the start.
    with contextlib.suppress(ConfigurationError):
        file = read_wrangler(path, environment)
        assert all(isinstance(number, int) for consumer in file.consumers for number in consumer.settings.values())
