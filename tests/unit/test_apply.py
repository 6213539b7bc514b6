"""A wrangler file applied to a catalog on a real store."""

import pytest

from millrace.catalog import Catalog
from millrace.cli.apply import apply_file
from millrace.clock import wall_ms
from millrace.errors import ConfigurationError, InvalidRequest
from millrace.sql.connection import prepare
from millrace.sql.store import SqlStore
from millrace.wrangler import read_wrangler


@pytest.fixture
async def catalog(tmp_path):
    path = str(tmp_path / "store.db")
    prepare(path, "apply")
    store = SqlStore(path, wall_ms)
    yield Catalog(store, wall_ms)
    await store.close()


def file(folder, text):
    path = folder / "wrangler.toml"
    path.write_text(text)
    return read_wrangler(path)


async def test_a_file_makes_its_queues_consumers_and_limits_and_changes_nothing_the_second_time(catalog, tmp_path):
    read = file(
        tmp_path,
        '[[queues.consumers]]\nqueue = "q"\nmax_retries = 1\ndead_letter_queue = "dead"\n'
        '[[queues.limits]]\nqueue = "q"\nmax_backlog_messages = 5\n',
    )

    assert await apply_file(catalog, "acc", read) == ["created queue q", "attached a consumer to q"]
    assert await apply_file(catalog, "acc", read) == []

    queue = await catalog.queue_named("acc", "q")
    assert (queue.consumer.settings.max_retries, queue.settings.max_backlog_messages) == (1, 5)
    assert await catalog.queue_named("acc", "dead")


@pytest.mark.parametrize(
    "text",
    [
        '[[queues.consumers]]\nqueue = "q"\nmax_batch_size = 500\n',
        '[[queues.consumers]]\nqueue = "q"\ndead_letter_queue = "q"\n',
        '[[queues.consumers]]\nqueue = "Q_"\n',
        '[[queues.limits]]\nqueue = "q"\nmax_backlog_messages = -3\n',
    ],
)
async def test_a_refused_file_changes_nothing(catalog, tmp_path, text):
    queue = await catalog.create("acc", "q", {})
    await catalog.attach("acc", queue.id, {"type": "http_pull", "settings": {}})
    before = await catalog.queues("acc")

    with pytest.raises(ConfigurationError, match=r"wrangler\.toml: "):
        await apply_file(catalog, "acc", file(tmp_path, text))

    assert await catalog.queues("acc") == before


async def test_a_file_leaves_the_limits_of_queues_it_does_not_name(catalog, tmp_path):
    queue = await catalog.create("acc", "other", {})
    await catalog.set_backlog_limits("acc", queue.id, 5, None)

    await apply_file(catalog, "acc", file(tmp_path, '[[queues.consumers]]\nqueue = "q"\n'))

    assert (await catalog.queue_named("acc", "other")).settings.max_backlog_messages == 5


async def test_a_consumer_of_another_type_is_replaced_by_the_file_but_not_by_put(catalog, tmp_path):
    queue = await catalog.create("acc", "q", {})
    pull = await catalog.attach("acc", queue.id, {"type": "http_pull", "settings": {}})

    with pytest.raises(InvalidRequest, match="delete it first"):
        await catalog.replace_consumer("acc", queue.id, pull.id, {"type": "worker", "script_name": "s", "settings": {}})
    await apply_file(catalog, "acc", file(tmp_path, '[[queues.consumers]]\nqueue = "q"\n'))

    assert (await catalog.queue_named("acc", "q")).consumer.type == "worker"
