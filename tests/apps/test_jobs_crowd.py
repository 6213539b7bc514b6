"""Many at once: sixteen backends enqueue, sixteen agents pull."""

import http.client
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from tests.support import KEY

CLIENTS, JOBS = 16, 2_000


class Line:
    """A connection of its own that stays open."""

    def __init__(self, server):
        place = urlsplit(server.url)
        self._connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)

    def post(self, path, body):
        self._connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {KEY}"})
        answer = self._connection.getresponse()
        assert answer.status == 200, answer.read()
        return json.loads(answer.read())


def at_once(server, act):
    """Let all clients do the same, each on its own connection, and give what they give."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(lambda number: act(Line(server), number), range(CLIENTS)))


def test_of_2000_jobs_none_is_leased_twice_by_16_pullers_and_all_ids_sort_by_time(server):
    """S2-12, S2-15, S2-45."""

    def enqueue(line, number):
        bodies = [
            {"runId": f"run-{number}-{count}", "tenantId": f"tenant-{number % 3}", "r2Key": "a.pdf"}
            for count in range(JOBS // CLIENTS)
        ]
        return [line.post("/jobs/enqueue", body)["jobId"] for body in bodies]

    def pull(line, number):
        pulled = []
        while jobs := line.post("/jobs/pull", {"max": 7})["jobs"]:
            ids = [job["id"] for job in jobs]
            pulled += ids
            if number % 2:
                assert all(result["ok"] for result in line.post("/jobs/ack", {"ids": ids, "status": "done"})["results"])
        return pulled

    enqueued = at_once(server, enqueue)
    pulled = at_once(server, pull)

    ids = [job for own in enqueued for job in own]
    assert len(set(ids)) == JOBS
    assert all(own == sorted(own) for own in enqueued)
    assert Counter(job for own in pulled for job in own) == Counter(ids)
    stats = server.call("GET", "/jobs/stats").json["stats"]
    done = sum(len(own) for own in pulled[1::2])
    assert stats == {"pending": 0, "leased": JOBS - done, "done": done, "failed": 0}
