"""The sweep of jobs, switched on in the wrangler file as wrangler has it."""

from tests.support import Server

CONFIG = """
name = "backend"
[triggers]
crons = ["*/10 * * * *"]
"""


def test_crons_of_the_file_switch_the_sweep_on_and_its_next_run_is_shown(tmp_path):
    """S2-47."""
    config = tmp_path / "wrangler.toml"
    config.write_text(CONFIG)
    with Server(tmp_path / "data", "--config", str(config)) as server:
        crons = server.call("GET", "/api/crons").json["crons"]

    [cron] = [cron for cron in crons if cron["program"] == "jobs"]
    assert cron["cron"] == "*/10 * * * *"
    assert cron["next_run"][14:16] in ("00", "10", "20", "30", "40", "50")


def test_without_crons_there_is_no_sweep(server):
    """S2-47: it is off by default."""
    assert server.call("GET", "/api/crons").json["crons"] == []
