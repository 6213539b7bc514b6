"""`millrace queues`: queues themselves."""

from tests.cli.commands import run


def test_a_created_queue_is_listed_with_its_settings(server):
    created = run(
        "queues", "create", "made", "--delay-seconds", "5", "--retention-seconds", "60", "--json", server=server
    ).json

    listed = run("queues", "list", "--json", server=server).json

    assert created in listed
    assert created["settings"] == {"delivery_delay": 5, "delivery_paused": False, "message_retention_period": 60}


def test_the_table_of_queues_has_a_line_for_each(server):
    queue_id = server.create_queue("in-the-table", consumer={"type": "http_pull"})

    lines = run("queues", "list", server=server).out.splitlines()

    assert lines[0].split() == ["name", "id", "delivery", "consumer", "created"]
    assert ["in-the-table", queue_id, "active", "http_pull"] in [line.split()[:4] for line in lines]


def test_a_list_of_many_queues_is_complete(server):
    names = {f"many-{number}" for number in range(120)}
    for name in names:
        server.create_queue(name)

    listed = run("queues", "list", "--json", server=server).json

    assert names <= {queue["queue_name"] for queue in listed}


def test_info_shows_settings_consumer_and_backlog(server):
    server.create_queue("shown-dlq")
    consumer = {"type": "http_pull", "dead_letter_queue": "shown-dlq", "settings": {"batch_size": 7, "max_retries": 1}}
    server.create_queue("shown", consumer=consumer, delivery_delay=9)
    run("queues", "send", "shown", "12345", server=server)

    text = run("queues", "info", "shown", server=server).out

    for part in (
        "delay      9 s",
        "retention  345600 s",
        "http_pull, batches of 7, retried up to 1 time, dead letters to shown-dlq",
        "1 message, 5 bytes, the oldest ",
    ):
        assert part in text


def test_info_as_json_is_the_apis_queue_with_its_metrics(server):
    queue_id = server.create_queue("as-json")
    run("queues", "send", "as-json", "1", server=server)

    shown = run("queues", "info", "as-json", "--json", server=server).json

    metrics = shown.pop("metrics")
    assert shown == server.v4("GET", f"/queues/{queue_id}").result
    assert metrics == server.v4("GET", f"/queues/{queue_id}/metrics").result


def test_a_queue_is_found_by_its_id_too(server):
    queue_id = server.create_queue("by-id")

    assert run("queues", "info", queue_id, "--json", server=server).json["queue_name"] == "by-id"


def test_a_queue_whose_name_looks_like_an_id_is_found_by_name(server):
    name = "ab" * 16
    server.create_queue(name)

    assert run("queues", "info", name, "--json", server=server).json["queue_name"] == name


def test_delete_needs_no_further_word(server):
    server.create_queue("unwanted")

    assert run("queues", "delete", "unwanted", "--json", server=server).json == {"deleted": "unwanted"}

    assert run("queues", "info", "unwanted", server=server).code == 1


def test_a_paused_queue_delivers_nothing_until_it_is_resumed(server):
    server.create_queue("halting", consumer={"type": "http_pull"})
    run("queues", "send", "halting", "1", server=server)

    paused = run("queues", "pause", "halting", "--json", server=server).json
    refused = run("queues", "pull", "halting", server=server)
    resumed = run("queues", "resume", "halting", "--json", server=server).json

    assert paused["settings"]["delivery_paused"] is True
    assert refused.code == 1
    assert "paused" in refused.error
    assert resumed["settings"]["delivery_paused"] is False
    assert len(run("queues", "pull", "halting", "--json", server=server).json) == 1


def test_purge_deletes_all_messages_when_forced(server):
    server.create_queue("full")
    run("queues", "send", "full", "1", server=server)

    assert run("queues", "purge", "full", "--force", "--json", server=server).json["queue_name"] == "full"

    assert run("queues", "peek", "full", "--json", server=server).json == []


def test_redrive_moves_dead_letters_back(server):
    consumer = {"type": "http_pull", "dead_letter_queue": "failing-dlq", "settings": {"max_retries": 0}}
    server.create_queue("failing", consumer=consumer)
    run("queues", "send", "failing", '"again"', server=server)
    [message] = run("queues", "pull", "failing", "--json", server=server).json
    run("queues", "ack", "failing", message["lease_id"], "--retry", server=server)

    assert run("queues", "redrive", "failing-dlq", "--json", server=server).json == {"redriven": 1}

    assert [peeked["body"] for peeked in run("queues", "peek", "failing", "--json", server=server).json] == ["again"]
    assert run("queues", "redrive", "failing-dlq", server=server).out == "moved 0 messages back\n"
