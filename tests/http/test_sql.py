"""SQL over the published views: what an admin may ask, and that nothing else can be read or changed."""

import threading

import pytest

from tests.http.wire import PULL, a_name, make_key, pull, push
from tests.support import KEY, ON_POSTGRES, Server

HIDDEN = [
    "select * from api_keys",
    "select * from main.api_keys",
    "select * from main.messages",
    "with messages as (select * from api_keys) select * from messages",
    "with queues as (select * from main.queues) select * from queues",
    "select (select secret_hash from api_keys)",
    "select value from queues",
    "select * from sqlite_schema",
    "select * from temp.sqlite_schema",
    "select * from pragma_table_info('api_keys')",
    "select * from dbstat",
    "select * from lanes",
    "select load_extension('x')",
]
WRITING = [
    "delete from messages",
    "update queues set name = 'x'",
    "insert into queues values (1)",
    "drop table messages",
    "create table x (a)",
    "create temp table x (a)",
    "pragma user_version = 1",
    "attach 'other.db' as other",
    "vacuum into 'copy.db'",
    "begin immediate",
    "with x as (select 1) delete from messages",
]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def strangers(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    if request.param == "postgres":
        ON_POSTGRES.add(folder)
    key = make_key(folder, "other")
    with Server(folder) as server:
        yield server, key


@pytest.fixture(scope="module")
def server(strangers):
    return strangers[0]


def ask(server, sql, params=(), key=KEY):
    return server.call("POST", "/api/sql", {"sql": sql, "params": params}, key=key)


def test_queues_and_messages_are_shown_as_they_are(server):
    name = a_name()
    queue = server.create_queue(name, consumer=PULL)
    push(server, queue, {"n": 1})
    push(server, queue, {"n": 2}, delay_seconds=60)
    pull(server, queue, 1, 30_000)

    messages = ask(server, "select body ->> '$.n', status, attempts from messages where queue = ? order by 1", [name])
    queues = ask(server, "select name, backlog_count, consumer from queues where name = :name", {"name": name})

    assert messages.json["rows"] == [[1, "leased", 1], [2, "scheduled", 0]]
    assert queues.json == {
        "columns": ["name", "backlog_count", "consumer"],
        "rows": [[name, 2, "http_pull"]],
        "is_cut": False,
    }


def test_a_query_without_rows_still_names_its_columns(server):
    assert ask(server, "select id, status from messages where 0").json["columns"] == ["id", "status"]


def test_an_account_sees_its_own_rows_only(strangers):
    server, other_key = strangers
    push(server, server.create_queue(a_name()), "ours")

    theirs = ask(server, "select count(*) from messages union all select count(*) from queues", key=other_key)

    assert theirs.json["rows"][0] == [0]


@pytest.mark.parametrize(
    "sql", [*HIDDEN, *WRITING, "", ";", "select 1; select 2", "explain select 1", "selec", "a" * 200_000]
)
def test_whatever_is_no_query_of_the_views_is_refused_and_changes_nothing(server, sql):
    before = ask(server, "select count(*) from queues").json

    reply = ask(server, sql)

    assert reply.status == 400, reply.body
    assert reply.json["error"]["code"] == "VALIDATION_ERROR"
    assert ask(server, "select count(*) from queues").json == before


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("select ?", [[1]]),
        ("select ?", [{}]),
        ("select ?", [2**63]),
        ("select :a", {"a": []}),
        ("select :a", {"b": 1}),
        ("select '\0'", []),
        ("select cast(x'ff' as text)", []),
    ],
)
def test_values_that_sqlite_does_not_have_are_refused(server, sql, params):
    reply = ask(server, sql, params)

    assert (reply.status, reply.json["error"]["code"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("strangers", ["sqlite"], indirect=True)  # where it is run makes no difference
def test_a_query_without_end_is_given_up_while_others_are_served(server):
    endless = "with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n"
    replies = []
    asking = threading.Thread(target=lambda: replies.append(ask(server, endless)))
    asking.start()

    while asking.is_alive():
        assert server.call("GET", "/readyz").status == 200

    assert replies[0].status == 400
    assert "3 s" in replies[0].json["error"]["message"]


def test_large_answers_are_cut_and_say_so(server):
    numbers = "with recursive n(x) as (select 1 union all select x + 1 from n limit 10001) select x from n"

    answer = ask(server, numbers).json

    assert (len(answer["rows"]), answer["is_cut"]) == (10_000, True)


def test_answers_of_many_bytes_are_cut_too(server):
    texts = (
        "with recursive n(x) as (select 1 union all select x + 1 from n limit 50) select hex(zeroblob(500000)) from n"
    )

    answer = ask(server, texts).json

    assert (len(answer["rows"]), answer["is_cut"]) == (17, True)


def test_a_key_that_is_limited_to_queues_does_not_see_the_others(server):
    limited = {"role": "admin", "queues": ["orders"]}
    secret = server.call("POST", "/api/keys", limited).json["secret"]

    assert ask(server, "select name from queues", key=secret).status == 403


@pytest.mark.parametrize("role", ["operator", "producer", "consumer", "agent"])
def test_only_an_admin_may_ask(server, role):
    secret = server.call("POST", "/api/keys", {"role": role}).json["secret"]

    assert ask(server, "select 1", key=secret).status == 403


def test_neither_statements_nor_their_mistakes_reach_the_log(server):
    ask(server, "select secret_word from messages")

    assert "secret_word" not in server.text
