"""A job from pending to its end. The row ids stand for the requirements that a test holds."""

import msgspec
import pytest

from millrace.apps.jobs import settling
from millrace.apps.jobs.jobs import JobBody
from millrace.apps.jobs.settling import Asked, Report
from millrace.apps.jobs.statuses import STATUSES
from millrace.coordination.states import history
from millrace.errors import Conflict, IdempotencyKeyReused
from millrace.message import Lease, Outgoing
from millrace.settlement import Ack
from tests.apps.databases import DATABASES
from tests.apps.job_rooms import ACCOUNT, open_rooms


@pytest.fixture(params=DATABASES)
async def rooms(request, tmp_path):
    async with open_rooms(tmp_path, request.param) as made:
        yield made


async def test_a_job_is_pending_then_leased_then_done(rooms):
    """S2-01, S2-08, S2-10."""
    job = await rooms.add()
    before = await rooms.stats()

    [pulled] = await rooms.pull()
    leased = await rooms.stats()
    settled = await rooms.settle("done", job)

    assert (before, leased, await rooms.stats()) == ({"pending": 1}, {"leased": 1}, {"done": 1})
    assert (pulled.id, pulled.body, pulled.attempts) == (job, JobBody("run-1", "acme", "a.pdf"), 1)
    assert settled == [(True, "done", None)]
    rooms.clock.advance(1_000_000)
    assert await rooms.pull() == []


async def test_a_pulled_job_is_invisible_until_its_lease_ends_and_then_counts_one_attempt_more(rooms):
    """S2-06, X10."""
    await rooms.add()
    await rooms.pull(seconds=1)

    hidden = await rooms.pull()
    rooms.clock.advance(1)
    counted = await rooms.stats()
    [again] = await rooms.pull()

    assert (hidden, counted, again.attempts) == ([], {"pending": 1}, 2)


async def test_max_bounds_the_batch_and_the_oldest_come_first(rooms):
    """S2-07."""
    jobs = [await rooms.add(f"run-{number}") for number in range(5)]

    first, second = await rooms.pull(2), await rooms.pull(100)

    assert [job.id for job in first + second] == jobs
    assert len(first) == 2


async def test_a_failed_job_is_pending_again_at_once_until_its_fifth_delivery_has_failed(rooms):
    """S2-09, S2-46, X09."""
    job = await rooms.add()
    attempts = []
    for _ in range(4):
        [pulled] = await rooms.pull()
        attempts.append(pulled.attempts)
        assert await rooms.settle("failed", job, error="no text") == [(True, "pending", None)]

    [pulled] = await rooms.pull()
    last = await rooms.settle("failed", job, error="no text")

    assert (attempts, pulled.attempts) == ([1, 2, 3, 4], 5)
    assert last == [(True, "failed", None)]
    assert await rooms.stats() == {"failed": 1}
    [dead] = await rooms.platform.broker.peek(await rooms.queue("jobs-dlq"), 10)
    assert (dead.id, dead.reason) == (job, "no text")


async def test_a_job_whose_fifth_lease_lapses_is_failed_before_and_after_it_is_buried(rooms):
    """S2-14, X10: nobody has to sweep for that."""
    job = await rooms.add()
    for _ in range(5):
        await rooms.pull(seconds=1)
        rooms.clock.advance(1)

    before = await rooms.stats()
    await rooms.platform.store.bury_lapsed(rooms.clock())
    buried = await rooms.stats()
    await rooms.sweep()

    assert before == buried == await rooms.stats() == {"failed": 1}
    assert await rooms.pull() == []
    assert await rooms.settle("done", job) == [(False, "failed", "already_settled")]
    shown = await rooms.query("select status, attempts from jobs")
    assert shown.rows == [["failed", 5]]


async def test_the_sweep_leaves_jobs_whose_lease_has_lapsed_pending(rooms):
    """S2-14."""
    await rooms.add()
    await rooms.pull(seconds=1)
    rooms.clock.advance(2)

    await rooms.sweep()

    assert await rooms.stats() == {"pending": 1}


async def test_an_ack_by_id_alone_counts_as_long_as_the_job_was_not_released(rooms):
    """S2-08, X13: late, after its lease has lapsed, too."""
    job = await rooms.add()
    await rooms.pull(seconds=1)
    rooms.clock.advance(100)

    settled = await rooms.settle("done", job)

    assert settled == [(True, "done", None)]


async def test_an_ack_that_names_a_stale_lease_is_refused_and_changes_nothing(rooms):
    """X13."""
    job = await rooms.add()
    [stale] = await rooms.pull(seconds=1)
    rooms.clock.advance(1)
    [current] = await rooms.pull()

    refused = await rooms.settle("done", job, lease=stale.lease)

    assert refused == [(False, "leased", "stale_lease")]
    assert await rooms.stats() == {"leased": 1}
    assert await rooms.settle("done", job, lease=current.lease) == [(True, "done", None)]


async def test_an_id_that_is_there_twice_is_answered_by_the_lease_beside_it(rooms):
    """X13."""
    job = await rooms.add()
    [pulled] = await rooms.pull()
    asked = [Asked(job, str(pulled.lease)), Asked(job, "stale"), Asked(job)]

    verdicts = await rooms.do(lambda work: settling.settle(work, ACCOUNT, asked, Report("done"), None))

    assert [(one.ok, one.status, one.reason) for one in verdicts] == [
        (True, "done", None),
        (False, "done", "stale_lease"),
        (True, "done", None),
    ]


async def test_an_ack_that_is_said_again_is_answered_as_the_first(rooms):
    """S2-29: an agent whose answer was lost says it again."""
    job = await rooms.add()
    [pulled] = await rooms.pull()
    await rooms.settle("done", job, lease=pulled.lease)

    again = await rooms.settle("done", job, lease=pulled.lease)
    other = await rooms.settle("done", job, lease=Lease(pulled.lease.key, pulled.lease.receipt ^ 1))
    opposite = await rooms.settle("failed", job)

    assert again == [(True, "done", None)]
    assert other == [(False, "done", "stale_lease")]
    assert opposite == [(False, "done", "already_settled")]


async def test_a_run_with_two_jobs_in_one_batch_follows_the_newer_one(rooms):
    """S2-24."""
    older, newer = await rooms.add(r2_key="a.pdf"), await rooms.add(r2_key="b.pdf")

    await rooms.pull()
    await rooms.settle("done", newer, older)

    states = await rooms.platform.read(lambda work: history(work.tx, ACCOUNT, "run", "run-1"))
    told = [(state.value["jobId"], state.value["status"]) for state in states]
    assert told == [(older, "pending"), (newer, "pending"), (newer, "leased"), (newer, "done")]


async def test_unknown_and_unpulled_jobs_are_refused_each_by_itself(rooms):
    """S2-08."""
    pending, leased = await rooms.add("run-1"), await rooms.add("run-2")
    [first] = await rooms.pull(1)

    settled = await rooms.settle("done", leased, "no-such-job", first.id)

    assert settled == [(False, "pending", "not_leased"), (False, "unknown", "unknown_id"), (True, "done", None)]
    assert first.id == pending


async def test_a_failure_that_is_reported_after_the_lease_changes_nothing(rooms):
    job = await rooms.add()
    await rooms.pull(seconds=1)
    rooms.clock.advance(1)

    refused = await rooms.settle("failed", job)

    assert refused == [(False, "pending", "lapsed")]


async def test_an_extended_lease_keeps_a_long_job_to_itself(rooms):
    """S2-31."""
    job = await rooms.add()
    await rooms.pull(seconds=60)
    for _ in range(3):
        rooms.clock.advance(50)
        assert await rooms.extend(60, job) == [(True, "leased", None)]

    others = await rooms.pull()

    assert others == []
    assert await rooms.settle("done", job) == [(True, "done", None)]
    assert await rooms.extend(60, job, "nobody") == [
        (False, "done", "already_settled"),
        (False, "unknown", "unknown_id"),
    ]


async def test_a_postponed_job_costs_no_attempt_while_its_upload_may_be_on_the_way(rooms):
    """X63: for an hour; then the attempts count, with the same pause between them."""
    job = await rooms.add()
    for _ in range(10):
        [pulled] = await rooms.pull()
        assert await rooms.settle("failed", job, postpone_seconds=300) == [(True, "pending", None)]
        assert await rooms.pull() == []
        rooms.clock.advance(300)
    assert pulled.attempts == 1

    rooms.clock.advance(600)
    for _ in range(5):
        assert len(await rooms.pull()) == 1
        last = await rooms.settle("failed", job, error="no object", postpone_seconds=300)
        assert await rooms.pull() == []
        rooms.clock.advance(300)

    assert last == [(True, "failed", None)]


async def test_a_job_that_is_given_back_untried_costs_no_attempt_however_old_it_is(rooms):
    """S2-30: agents that stop do not use a backlog up."""
    job = await rooms.add()
    rooms.clock.advance(7200)

    for _ in range(10):
        [pulled] = await rooms.pull()
        assert await rooms.settle("failed", job, postpone_seconds=0) == [(True, "pending", None)]

    assert pulled.attempts == 1


async def test_the_same_key_gives_the_same_job_and_another_body_is_refused(rooms):
    """S2-04."""
    job = await rooms.add(key="one")
    await rooms.pull()
    await rooms.settle("done", job)

    again = await rooms.add(key="one")

    assert again == job
    with pytest.raises(IdempotencyKeyReused):
        await rooms.add(r2_key="b.pdf", key="one")
    assert await rooms.stats() == {"done": 1}


async def test_a_queue_that_drops_doubles_keeps_one_job_of_a_kind(rooms):
    await rooms.add("run-0")
    queue = await rooms.queue()
    settings = msgspec.structs.replace(queue.settings, deduplicate_content=True)
    await rooms.platform.store.update_queue(
        ACCOUNT, queue.id, lambda queue: msgspec.structs.replace(queue, settings=settings)
    )

    job, again = await rooms.add(), await rooms.add()

    assert again == job
    assert await rooms.stats() == {"pending": 2}


async def test_a_run_belongs_to_one_tenant(rooms):
    """S2-57."""
    await rooms.add("run-1", "acme")

    with pytest.raises(Conflict, match="another tenant"):
        await rooms.add("run-1", "globex")
    assert await rooms.stats() == {"pending": 1}


async def test_a_tenants_agent_gets_that_tenants_jobs_only_and_touches_no_others(rooms):
    """S2-57."""
    for number in range(20):
        await rooms.add(f"run-{number}", "globex")
    mine = [await rooms.add(f"mine-{number}") for number in range(3)]

    pulled = await rooms.pull(2, tenant="acme") + await rooms.pull(2, tenant="acme")

    assert [job.id for job in pulled] == mine
    assert [await rooms.stats(tenant) for tenant in ("acme", "globex", "nobody")] == [
        {"leased": 3},
        {"pending": 20},
        {},
    ]
    [others] = await rooms.pull(1)
    assert others.attempts == 1
    assert await rooms.settle("done", others.id, tenant="acme") == [(False, "unknown", "unknown_id")]
    assert await rooms.settle("done", mine[0], tenant="acme") == [(True, "done", None)]


async def test_a_tenants_pull_keeps_to_the_rate_limit_of_the_queue(rooms):
    for number in range(5):
        await rooms.add(f"run-{number}")
    given = {"type": "http_pull", "settings": {"rate_limit": {"messages": 2, "per_seconds": 60}}}
    await rooms.platform.catalog.set_consumer(ACCOUNT, (await rooms.queue()).id, given)

    counts = [len(await rooms.pull(limit=1, tenant=tenant)) for tenant in ("acme", None, "acme")]
    rooms.clock.advance(60)

    assert counts == [1, 1, 0]
    assert len(await rooms.pull(tenant="acme")) == 2


async def test_a_tenants_jobs_fail_by_the_same_rule(rooms):
    """S2-57, X09."""
    job = await rooms.add()
    for _ in range(5):
        [pulled] = await rooms.pull(tenant="acme")
        await rooms.settle("failed", job, tenant="acme")

    assert pulled.attempts == 5
    assert await rooms.stats("acme") == {"failed": 1}
    assert await rooms.pull(tenant="acme") == []


@pytest.mark.parametrize("tenant", [None, "acme"])
async def test_a_failed_job_that_is_redriven_is_pending_again(rooms, tenant):
    """S2-50: the dead-letter queue is an ordinary one."""
    job = await rooms.add()
    await rooms.fail()

    await rooms.platform.broker.redrive(await rooms.queue("jobs-dlq"))

    assert await rooms.stats() == {"pending": 1}
    [pulled] = await rooms.pull(tenant=tenant)
    assert (pulled.id, pulled.attempts) == (job, 1)
    await rooms.settle("done", job)
    assert await rooms.stats() == {"done": 1}


async def test_what_is_acknowledged_over_the_other_api_is_done_and_what_is_purged_is_failed(rooms):
    """X14: one engine, two faces."""
    await rooms.add("run-1")
    await rooms.add("run-2")
    queue = await rooms.queue()
    received = await rooms.platform.broker.receive(queue, 1, 60_000)
    await rooms.platform.broker.settle(queue, [(received.messages[0].lease, Ack())])
    one_done = await rooms.stats()

    await rooms.sweep()
    await rooms.platform.broker.purge(queue)

    assert one_done == {"pending": 1, "done": 1}
    assert await rooms.stats() == {"done": 1, "failed": 1}


async def test_a_message_that_came_by_another_way_becomes_a_job_or_is_buried(rooms):
    """X14."""
    await rooms.add("run-1")
    queue = await rooms.queue()
    bodies = [b'{"runId":"run-2","tenantId":"acme","r2Key":"b.pdf"}', b'{"hello":1}', b"\xff"]
    await rooms.platform.broker.send_batch(queue, [Outgoing(body=body) for body in bodies])

    pulled = await rooms.pull(4)

    assert [job.body.run_id for job in pulled] == ["run-1", "run-2"]
    assert (await rooms.platform.broker.backlog(await rooms.queue("jobs-dlq"))).count == 2
    await rooms.settle("done", *[job.id for job in pulled])
    assert await rooms.stats() == {"done": 2}


async def test_the_view_counts_as_the_stats_do_at_every_point_of_a_life(rooms):
    """S2-48, S2-49, S2-50, S2-51."""
    seen = []

    async def compare():
        counted = await rooms.query("select status, count(*) from jobs group by status")
        assert dict(counted.rows) == await rooms.stats()
        seen.extend(row[0] for row in counted.rows)

    for number in range(6):
        await rooms.add(f"run-{number}")
    await compare()
    pulled = await rooms.pull(4)
    await rooms.settle("done", pulled[0].id)
    await rooms.settle("failed", pulled[1].id)
    await compare()
    await rooms.fail()
    await compare()
    rooms.clock.advance(60)
    await compare()
    await rooms.fail()
    await compare()
    await rooms.platform.broker.redrive(await rooms.queue("jobs-dlq"))
    await compare()

    assert set(seen) == set(STATUSES)


async def test_the_view_has_the_columns_that_are_promised(rooms):
    """S2-48, S2-50."""
    job = await rooms.add()

    shown = await rooms.query("SELECT * FROM jobs WHERE status='pending' ORDER BY created_at")

    assert shown.columns == [
        "id",
        "run_id",
        "tenant_id",
        "r2_key",
        "status",
        "attempts",
        "error",
        "created_at",
        "updated_at",
    ]
    time = "2025-01-01T00:00:00.000Z"
    assert shown.rows == [[job, "run-1", "acme", "a.pdf", "pending", 0, None, time, time]]


async def test_what_is_done_is_written_into_the_audit_trail(rooms):
    await rooms.add()
    await rooms.fail()

    noted = await rooms.platform.read(lambda work: work.fetch("audit_page", _page()))

    acts = [row[4] for row in noted]
    assert acts.count("run.created") == 1
    assert acts.count("job.failed") == 1
    assert not any("broken" in str(row) for row in noted)


def _page():
    return {"account_id": ACCOUNT, "limit": 100, "before": 1 << 62, "act": None, "object": None, "ending": None}
