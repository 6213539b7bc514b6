"""Databases, namespaces and workflows of a wrangler file."""

import pytest

from millrace.cli.workflows import check_workflows
from millrace.errors import ConfigurationError
from millrace.platform import App
from tests.unit.wrangler_files import problems, read_json, read_toml, warnings


async def order(event, step):
    return None


def test_bindings_are_read_with_what_they_stand_for(tmp_path):
    text = """\
    [[d1_databases]]
    binding = "DB"
    database_name = "shop"
    database_id = "1234"
    [[kv_namespaces]]
    binding = "AUTH_KV"
    id = "abcd"
    [[kv_namespaces]]
    binding = "CACHE"
    [[workflows]]
    binding = "FULFIL"
    name = "fulfil"
    class_name = "Fulfil"
    """
    file = read_toml(tmp_path, text)

    found = [(other.kind, other.binding, other.target, other.class_name) for other in file.others]
    assert found == [
        ("d1", "DB", "shop", None),
        ("kv", "AUTH_KV", "abcd", None),
        ("kv", "CACHE", "CACHE", None),
        ("workflow", "FULFIL", "fulfil", "Fulfil"),
    ]
    assert file.warnings == ()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"d1_databases": {}}, 'The field "d1_databases" should be an array but got {}.'),
        (
            {"kv_namespaces": [{"id": "a"}]},
            '"kv_namespaces[0]" bindings should have a string "binding" field but got {"id":"a"}.',
        ),
        (
            {"workflows": [{"binding": "W"}]},
            '"workflows[0]" bindings should have a string "name" field but got {"binding":"W"}.',
        ),
        (
            {"kv_namespaces": [{"binding": "A"}, {"binding": "A"}]},
            "A assigned to multiple KV Namespace bindings. Bindings must have unique names.",
        ),
        (
            {"vars": {"A": 1}, "d1_databases": [{"binding": "A"}]},
            "A assigned to Environment Variable and D1 Database bindings. Bindings must have unique names.",
        ),
        (
            {"queues": {"producers": [{"binding": "A", "queue": "a"}]}, "workflows": [{"binding": "A", "name": "w"}]},
            "A assigned to Queue and Workflow bindings. Bindings must have unique names.",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, value, problem):
    assert problems(tmp_path, value) == [problem]


def test_what_an_environment_does_not_inherit_is_remarked(tmp_path):
    value = {"kv_namespaces": [{"binding": "A", "idd": "x"}], "env": {"live": {}}}

    assert warnings(read_json(tmp_path, value)) == ['Unexpected fields found in kv_namespaces[0] field: "idd"']
    assert '"kv_namespaces" exists at the top level' in warnings(read_json(tmp_path, value, "live"))[0]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"name": "fulfil"}, 'nothing runs the workflow "fulfil"'),
        ({"name": "fulfil", "class_name": "Fulfil", "script_name": "other"}, 'nothing runs the workflow "fulfil"'),
        ({"name": "Ful_fil", "class_name": "Fulfil"}, "workflow 'Ful_fil' is not valid"),
    ],
)
def test_a_workflow_that_nothing_runs_is_refused(tmp_path, entry, sentence):
    file = read_json(tmp_path, {"main": "worker.py", "workflows": [{"binding": "W", **entry}]})

    with pytest.raises(ConfigurationError, match=sentence):
        check_workflows(file, [App(workflows={"order": order})])


def test_a_workflow_of_a_program_may_be_bound_without_a_class(tmp_path):
    file = read_json(tmp_path, {"workflows": [{"binding": "W", "name": "order"}]})

    check_workflows(file, [App(workflows={"order": order})])
