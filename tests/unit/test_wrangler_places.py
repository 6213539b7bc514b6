import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.wrangler.json_spots import json_spots
from millrace.wrangler.places import place
from millrace.wrangler.toml_spots import toml_spots
from tests.unit.wrangler_files import read_json, read_toml, refusal, write

TOML = '''\
# [a] is no header
name = "x"                                  # 2
"quoted key" = """
[not.a.header]
key = 1
"""                                         # 6
'lit#eral' = \'\'\'
"""\'\'\'
dotted . "a b".c = 1                        # 9
crons = [ # ]
  "* * * * *",                              # 11
  "0 0 * * *", [1,
  [ "]" ] ],                                # 13
]
inline = { url = "}", list = [
  1 ], "x.y" = 2 }                          # 16
after = 1979-05-27 07:32:00                 # 17
quotes = """""a"""""
[[queues.consumers]]                        # 19
queue = "a"

  [[queues.consumers]]                      # 22
  queue = "b"
  [queues.consumers.backoff]                # 24
  kind = "fixed"
[queues]                                    # 26
extra = true
[env."a.b".queues]
producers = [{ binding = "A" }, {
  binding = "B" }]                          # 30
[env.a.vars]
V = '\\'
W = "\\""
last = 1'''

JSON = """\
{ // {"name": 1}
  "name": "x", "main": "y",
  "quoted \\u006bey": [1, "]", {"a": [
    5
  ]}],
  /* "queues": 1,
  */ "queues": {
    "consumers": [
      {"queue": "a", "n": -1.5e3},
      {
        "queue": "b\\"{[",
        "backoff":
          {"kind": null,}
      },
    ],
  },
  "twice": {"first": 1},
  "twice": [
    {"second": 2}
  ]
}
"""


class TestToml:
    @pytest.mark.parametrize(
        ("path", "line"),
        [
            ("name", 2),
            ("quoted key", 3),
            ("lit#eral", 7),
            ("dotted", 9),
            ("dotted.a b.c", 9),
            ("crons", 10),
            ("crons[0]", 11),
            ("crons[1]", 12),
            ("crons[2][0]", 12),
            ("crons[2][1]", 13),
            ("crons[2][1][0]", 13),
            ("inline", 15),
            ("inline.url", 15),
            ("inline.list[0]", 16),
            ("inline.x.y", 16),
            ("after", 17),
            ("quotes", 18),
            ("queues", 26),
            ("queues.consumers", 19),
            ("queues.consumers[0]", 19),
            ("queues.consumers[0].queue", 20),
            ("queues.consumers[1]", 22),
            ("queues.consumers[1].queue", 23),
            ("queues.consumers[1].backoff", 24),
            ("queues.consumers[1].backoff.kind", 25),
            ("queues.extra", 27),
            ("env.a.vars", 31),
            ("env.a.vars.V", 32),
            ("env.a.vars.last", 34),
        ],
    )
    def test_a_key_stands_where_it_is_written(self, path, line):
        assert place(Path("w.toml"), toml_spots(TOML), path) == f"w.toml:{line}"

    @pytest.mark.parametrize(
        ("path", "line"),
        [
            ("queues.consumers[0].max_retries", 19),
            ("queues.consumers[2]", 19),
            ("queues.consumers[1].backoff.jitter", 24),
            ("queues.producers[0].binding", 26),
            ("crons[2][1][7].x", 13),
        ],
    )
    def test_a_key_that_is_not_there_stands_where_the_thing_around_it_does(self, path, line):
        assert place(Path("w.toml"), toml_spots(TOML), path) == f"w.toml:{line}"

    def test_an_unknown_key_on_top_stands_in_the_file(self):
        assert place(Path("w.toml"), toml_spots(TOML), "nothing") == "w.toml"

    def test_a_path_with_two_meanings_stands_where_both_are(self):
        text = '[env."a.b"]\nname = "x"\n[env.a.b]\nname = "y"\n'

        assert place(Path("w.toml"), toml_spots(text), "env.a.b.name") == "w.toml:1"

    @pytest.mark.parametrize(
        "text", ["", "\n\n", "# only this", "a=1", "[a]", "[[a]]\n[[a]]", "a = []\nb = {}", "a=[[],[[]],]"]
    )
    def test_the_spots_have_the_shape_of_the_values(self, text):
        assert shape(toml_spots(text)) == shape_of(tomllib.loads(text))


class TestJson:
    @pytest.mark.parametrize(
        ("path", "line"),
        [
            ("name", 2),
            ("main", 2),
            ("quoted key", 3),
            ("quoted key[1]", 3),
            ("quoted key[2].a[0]", 4),
            ("queues", 7),
            ("queues.consumers", 8),
            ("queues.consumers[0].n", 9),
            ("queues.consumers[1]", 10),
            ("queues.consumers[1].queue", 11),
            ("queues.consumers[1].backoff", 12),
            ("queues.consumers[1].backoff.kind", 13),
            ("queues.consumers[1].max_retries", 10),
            ("twice", 18),
            ("twice.first", 18),
            ("twice[0].second", 19),
        ],
    )
    def test_a_key_stands_where_it_is_written(self, path, line):
        assert place(Path("w.jsonc"), json_spots(JSON), path) == f"w.jsonc:{line}"

    @pytest.mark.parametrize("text", ["5", '"a"', "[]", "{}"])
    def test_a_value_without_keys_has_no_places(self, text):
        assert place(Path("w.json"), json_spots(text), "a") == "w.json"


class TestMessages:
    def test_a_wrong_entry_is_named_with_its_line_in_toml(self, tmp_path):
        text = '[[queues.consumers]]\nqueue = "a"\n\n[[queues.consumers]]\nmax_retries = "5"\n[env.live]\nname = 5\n'
        path = write(tmp_path, text)

        assert refusal(path).split("\n  ") == [
            f'{path}:4: "queues.consumers[1]" should have a string "queue" field but got {{"max_retries":"5"}}.',
            (
                f'{path}:5: "queues.consumers[1]" should, optionally, have a number "max_retries" field '
                'but got {"max_retries":"5"}.'
            ),
        ]
        assert (
            refusal(path, "live")
            == f'{path}:7: Expected "env.live.name" to be of type string, alphanumeric and lowercase with dashes only but got 5.'
        )

    def test_a_wrong_entry_is_named_with_its_line_in_json(self, tmp_path):
        path = write(tmp_path, '{\n  "queues": {\n    "producers": [\n      {}\n    ]\n  }\n}', "wrangler.json")

        assert refusal(path) == (
            f'{path}:4: "queues.producers[0]" bindings should have a string "binding" field but got {{}}.'
        )

    def test_a_warning_has_its_line(self, tmp_path):
        file = read_toml(tmp_path, '[vars]\nA = "1"\n[env.live.queues]\n\nfoo = 1\n', "live")

        assert [warning.removeprefix(str(file.path))[:3] for warning in file.warnings] == [":1:", ":5:"]

    def test_later_errors_find_the_place_of_a_key(self, tmp_path):
        file = read_json(
            tmp_path, {"main": "a.py", "env": {"live": {"queues": {"consumers": [{"queue": "q"}]}}}}, "live"
        )

        assert file.place(file.main_path) == f"{file.path}:1"
        assert file.place(f"{file.consumers[0].path}.handler") == f"{file.path}:1"


def shape(spot):
    return {key: shape(inner) for key, inner in spot.inner.items()}


def shape_of(value):
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {key: shape_of(inner) for key, inner in pairs}


def lines_hold_their_keys(spot, text):
    return all(
        (isinstance(key, int) or json.dumps(key) in text.splitlines()[inner.line - 1])
        and lines_hold_their_keys(inner, text)
        for key, inner in spot.inner.items()
    )


WORDS = st.text("ab.[]{}\"'#=,/* \\\n", max_size=6)
VALUES = st.recursive(
    WORDS | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(WORDS, values, max_size=3),
    max_leaves=20,
)
TABLES = st.dictionaries(WORDS, VALUES, max_size=4)


@given(TABLES, st.sampled_from([None, 0, 2]))
def test_any_json_has_the_shape_and_the_keys_of_its_values(value, indent):
    text = json.dumps(value, indent=indent)

    spots = json_spots(text)

    assert shape(spots) == shape_of(value)
    assert lines_hold_their_keys(spots, text)


@given(TABLES, st.lists(TABLES, max_size=3), st.booleans())
def test_any_toml_has_the_shape_and_the_keys_of_its_values(value, entries, is_long):
    text = toml({"top": value}, is_long)
    text += "".join(
        f'[["sec"."tion"]]\n{toml(entry, is_long)}["sec"."tion"."x"]\n"y" = 1\n'
        for entry in entries
        if "x" not in entry
    )

    spots = toml_spots(text)

    assert shape(spots) == shape_of(tomllib.loads(text))
    assert lines_hold_their_keys(spots, text)


def toml(table, is_long):
    """Write the table with its keys quoted, an element of an array on each line."""
    return "".join(f"{json.dumps(key)} = {toml_value(value, is_long)} # a = [\n" for key, value in table.items())


def toml_value(value, is_long):
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{json.dumps(key)} = {toml_value(inner, is_long)}" for key, inner in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + "".join(toml_value(inner, is_long) + ", # ]\n" for inner in value) + "]"
    if isinstance(value, str) and is_long:
        return f"'''{value}'''" if "'''" not in value else f'"""\\\n{json.dumps(value)[1:-1]}"""'
    return json.dumps(value)
