"""Messages on two servers that share a PostgreSQL database: as long as none of them dies, each is handed over once."""

import asyncio
from collections import Counter
from contextlib import contextmanager

from millrace.apps.messaging.pacing import shared_pace
from millrace.bucket import Rate
from tests.apps.message_rooms import ACCOUNT, email, open_servers
from tests.apps.sinks import MailSink
from tests.clusters import fresh_database
from tests.http.wire import eventually
from tests.support import IS_SOAK, Server

LIST = 100
MAILS = 500
LEASE_SECONDS = 60
IN_FLIGHT = 200  # twenty batches of ten in one server


@contextmanager
def two_servers(folder, sink, *roles):
    """Run servers of these roles on one database."""
    with fresh_database() as url:
        environ = {"DATABASE_URL": url, "SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(sink.port), "SMTP_TLS": "off"}
        servers = [Server(folder / str(number), "--role", role, environ=environ) for number, role in enumerate(roles)]
        with servers[0] as one, servers[1] as two:
            yield one, two


def enqueue(servers, mails):
    """Queue so many mails over the servers in turn, in lists."""
    for first in range(0, mails, LIST):
        jobs = [email(f"msg-{first + number}", recipient=f"user{first + number}@example.com") for number in range(LIST)]
        assert servers[first // LIST % len(servers)].call("POST", "/api/enqueue-job", jobs).status == 202


def status(server, number):
    return server.call("GET", f"/api/messages/msg-{number}").json["status"]


def counted(server):
    return server.call("GET", "/debug/queue-status").json


def recipients(sink):
    return Counter(mail.recipient for mail in sink.mails)


def test_what_one_server_takes_in_the_other_hands_over_once(tmp_path):
    with MailSink() as sink, two_servers(tmp_path, sink, "api", "consumer") as (door, _):
        enqueue([door], LIST)

        eventually(lambda: counted(door)["done"] == LIST)

    assert recipients(sink) == Counter({f"user{number}@example.com": 1 for number in range(LIST)})
    assert not [line for line in door.log_lines() if line.get("event") == "job.begun"]


def test_of_500_mails_on_two_servers_one_of_them_killed_only_what_was_on_its_way_may_come_twice(tmp_path):
    with MailSink() as sink, two_servers(tmp_path, sink, "all", "all") as (one, two):
        enqueue([one, two], MAILS)
        eventually(lambda: len(sink.mails) >= MAILS // 5)
        one.kill()

        eventually(lambda: counted(two)["done"] >= MAILS - IN_FLIGHT)

        on_their_way = {f"user{number}@example.com" for number in range(MAILS) if status(two, number) != "sent"}
        if IS_SOAK:
            eventually(lambda: counted(two)["done"] == MAILS, LEASE_SECONDS + 20)
        arrived = recipients(sink)
        doubles = {address for address, times in arrived.items() if times > 1}
        assert doubles <= on_their_way
        assert {f"user{number}@example.com" for number in range(MAILS)} - set(arrived) <= on_their_way
        print(f"{len(on_their_way)} of {MAILS} were on their way at the kill, {len(doubles)} came twice")


async def test_two_servers_share_the_rate_of_a_provider(tmp_path):
    rate = Rate(20, 1)
    async with open_servers(tmp_path) as servers:
        takes = [shared_pace(rooms.platform, ACCOUNT) for rooms in servers]

        waits = await asyncio.gather(*[takes[number % 2]("smtp", rate, 60) for number in range(25)])

        assert sorted(waits) == [0] * 20 + [0.05, 0.1, 0.15, 0.2, 0.25]
