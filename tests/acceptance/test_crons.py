"""Crons under a real server: run in processes of their own and in it, and once each, however it is killed."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.programs import wait_until
from tests.support import Server

APP = """
import asyncio, os
from pathlib import Path

from millrace import App, Cron

NOTES = Path(os.environ["NOTES"])


async def sweep(platform, account_id):
    with NOTES.open("a") as notes:
        notes.write(f"began in {account_id}\\n")
    while not NOTES.with_name("go").exists():
        await asyncio.sleep(0.01)


app = App(crons=(Cron(name="sweep", expression="* * * * *", act=sweep),))
"""
FILE = """
name = "shop"
main = "worker.py"

[triggers]
crons = ["0 0 29 2 *", "30 0 29 2 *"]

[[queues.producers]]
binding = "DONE"
queue = "done"
"""
WORKER = """
from workers import WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def scheduled(self, controller, env, ctx):
        await env.DONE.send({"cron": controller.cron, "late": controller.scheduledTime})
        if controller.cron.startswith("30"):
            controller.noRetry()
            raise ValueError("half past")
"""
FUNCTION = """
async def tidy(controller, env):
    await env.DONE.send({"cron": controller.cron, "at": controller.scheduled_time.isoformat()})
"""
MISSED_MS = 5 * 60_000
LAPSE = "update messages set visible_at_ms = 1, lease_ends_at_ms = 1 where receipt is not null"  # what a minute does


class CronServer(Server):
    """A server with crons, and with a look into its database while it is down."""

    def crons(self) -> list[dict[str, Any]]:
        return self.call("GET", "/api/crons").json["crons"]

    def status(self, program: str, cron: str | None = None) -> str | None:
        [found] = [one for one in self.crons() if one["program"] == program and cron in (None, one["cron"])]
        return found["last_status"]

    def run(self, program: str, cron: str | None = None) -> int:
        return self.call("POST", "/api/crons/run", {"program": program, "cron": cron}).status

    def peek(self, name: str) -> list[Any]:
        [queue] = self.v4("GET", f"/queues?name={name}").result
        return self.v4("POST", f"/queues/{queue['queue_id']}/messages/peek", {}).result["messages"]

    def change(self, statement: str, *values: object) -> None:
        with sqlite3.connect(self.data / "millrace.db") as database:
            database.execute(statement, values)
        database.close()


def of_app(folder: Path) -> CronServer:
    (folder / "app.py").write_text(APP)
    arguments = ("--config", "", "--app", f"{folder / 'app.py'}:app")
    return CronServer(folder / "data", *arguments, environ={"NOTES": str(folder / "notes")})


def of_file(folder: Path, text: str, **files: str) -> CronServer:
    (folder / "wrangler.toml").write_text(text)
    for name, content in files.items():
        (folder / f"{name}.py").write_text(content)
    return CronServer(folder / "data", "--config", str(folder / "wrangler.toml"))


def test_a_run_outlives_kills_in_its_middle_and_is_neither_lost_nor_sent_twice(tmp_path):
    notes = tmp_path / "notes"
    with of_app(tmp_path) as server:
        server.kill()
        server.change("update crons set seen_until_ms = seen_until_ms - ?", MISSED_MS)
        server.start()
        wait_until(notes.exists, 10, "the missed run is not caught up")
        server.wait_for_text('"event":"cron.missed"')
        assert server.status("sweep") == "running"

        server.kill()
        server.change(LAPSE)
        server.start()
        wait_until(lambda: len(notes.read_text().splitlines()) == 2, 10, "the run does not come again")
        [run] = server.peek("crons-sweep")
        assert run["attempts"] == 2
        (tmp_path / "go").touch()

        wait_until(lambda: server.peek("crons-sweep") == [], 10, "the run is not done")
        assert notes.read_text() == "began in local\n" * 2
        assert server.status("sweep") == "done"
        assert server.stop() == 0


def test_a_python_worker_runs_the_crons_of_its_file_in_a_process_of_its_own(tmp_path):
    with of_file(tmp_path, FILE, worker=WORKER) as server:
        assert server.run("shop", "0 0 29 2 *") == 202
        assert server.run("shop", "30 0 29 2 *") == 202

        wait_until(lambda: len(server.peek("crons-shop-dlq")) == 1, 10, "the run that fails is not buried")
        wait_until(lambda: server.peek("crons-shop") == [], 10, "the other is not done")

        assert len(server.peek("done")) == 2
        whole, half = server.crons()
        assert (whole["last_status"], half["last_status"], half["last_error"]) == ("done", "failed", "ValueError")
        assert whole["next_run"].endswith("-02-29T00:00:00.000Z")
        assert server.run("shop") == 400
        assert server.run("shop", "1 1 1 1 1") == 404


def test_a_function_that_the_file_names_runs_its_crons(tmp_path):
    text = FILE.replace("[triggers]", '[triggers]\nscheduled = "jobs.py:tidy"').replace(', "30 0 29 2 *"', "")

    with of_file(tmp_path, text.replace('main = "worker.py"', ""), jobs=FUNCTION) as server:
        assert server.run("shop") == 202
        wait_until(lambda: server.status("shop") == "done", 10, "the run is not done")

        assert len(server.peek("done")) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (FILE, ':6: "triggers.crons": '),
        (FILE.replace("[triggers]", '[triggers]\nscheduled = "worker.py:tidy"'), ':6: "triggers.scheduled": '),
    ],
)
def test_crons_that_cannot_be_run_stop_the_start_with_their_place(tmp_path, text, sentence):
    with pytest.raises(AssertionError) as ended:
        of_file(tmp_path, text, worker="").start()

    assert f"wrangler.toml{sentence}" in str(ended.value)
