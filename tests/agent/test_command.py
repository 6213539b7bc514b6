import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from millrace.cli import agent
from millrace.cli.arguments import make_parser
from millrace.config import read_settings
from millrace.edge_jobs.config import REMOVED, load_config
from tests.docs.pages import ROOT

EDGE = {"EDGE_BASE_URL": "http://127.0.0.1:8787", "EDGE_API_TOKEN": "the-token"}
OF_AGENT = (*EDGE, "BATCH_SIZE", "VISIBILITY_TIMEOUT", "PIPELINE", "AI_GATEWAY_URL", "GOOGLE_API_KEY", *REMOVED)
OF_CLOUDFLARE = ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_QUEUE_ID", "CLOUDFLARE_API_TOKEN")
EXAMPLE = (ROOT / "env.example").read_text()
R2 = ("R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run the command in a folder without a .env, with these variables only."""
    monkeypatch.chdir(tmp_path)
    for name in (*OF_AGENT, *R2, *OF_CLOUDFLARE):
        monkeypatch.delenv(name, raising=False)

    def run(*flags: str, **environ: str) -> int:
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return agent.run(make_parser("millrace").parse_args(["agent", *flags]))

    return run


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, ["EDGE_BASE_URL", "EDGE_API_TOKEN"]),
        ({"EDGE_BASE_URL": "http://127.0.0.1:8787"}, ["EDGE_API_TOKEN"]),
        ({**EDGE, "GOOGLE_API_KEY": "key"}, ["AI_GATEWAY_URL"]),
        ({**EDGE, "R2_BUCKET": "uploads"}, ["R2_ENDPOINT", "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"]),
    ],
)
def test_an_agent_without_what_it_needs_names_it_and_ends_with_2(
    run: Any, capsys: pytest.CaptureFixture[str], environ: dict[str, str], named: list[str]
) -> None:
    """S2-35."""
    with pytest.raises(SystemExit) as ended:
        run(**environ)

    assert ended.value.code == 2
    assert f"{', '.join(named)} " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "CLOUDFLARE_QUEUE_ID is not set"),
        ({"CLOUDFLARE_QUEUE_ID": "q"}, "set CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN"),
    ],
)
def test_the_flag_for_cloudflares_queue_needs_its_variables(
    run: Any, capsys: pytest.CaptureFixture[str], given: dict[str, str], missing: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--cloudflare-queue", **EDGE, **given)

    assert ended.value.code == 2
    assert missing in capsys.readouterr().err


def test_the_settings_are_shown_without_secrets(run: Any, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """S2-32, S2-33, S2-23."""
    secrets = dict.fromkeys(("R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY"), "hush-r2")
    code = run(
        "--show-config", **EDGE, **secrets, R2_ENDPOINT="https://r2.example", R2_BUCKET="uploads", GOOGLE_API_KEY="hush-g",
        AI_GATEWAY_URL="https://gateway.example",
    )  # fmt: skip
    output = capfdbinary.readouterr().out
    shown = json.loads(output)

    assert code == 0
    assert (shown["GEMINI_CHAT_MODEL"], shown["GEMINI_EMBED_MODEL"]) == ("gemini-2.0-flash", "text-embedding-004")
    assert (shown["BATCH_SIZE"], shown["VISIBILITY_TIMEOUT"]) == (10, 60)
    assert shown["EDGE_API_TOKEN"] == shown["GOOGLE_API_KEY"] == shown["R2_SECRET_ACCESS_KEY"] == "(set)"
    assert b"hush" not in output
    assert b"the-token" not in output


def test_a_note_names_variables_of_before(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """S2-37, X15."""
    code = run("--show-config", **EDGE, CF_API_TOKEN="x", QUEUE_PULL_URL="x")

    assert code == 0
    assert capsys.readouterr().err == "millrace: CF_API_TOKEN, QUEUE_PULL_URL set, but not used any more; remove them\n"


@pytest.mark.parametrize(
    ("reference", "sentence"), [("none.py:process", "no such file"), ("mine.py:text", "no function")]
)
def test_a_pipeline_that_cannot_be_run_is_refused_at_the_start(
    run: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path, reference: str, sentence: str
) -> None:
    (tmp_path / "mine.py").write_text("text = 'no function'")

    with pytest.raises(SystemExit):
        run("--pipeline", reference, **EDGE)

    assert sentence in capsys.readouterr().err
    sys.modules.pop("mine", None)


class Asked(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, **given: str) -> None:
        super().__init__(given)
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> str:
        self.names.add(key)
        return super().__getitem__(key)


def _names(text: str) -> set[str]:
    return set(re.findall(r"^#?([A-Z0-9_]+)=", text, re.MULTILINE))


def test_the_example_of_an_environment_has_every_variable_of_the_agent_and_no_other() -> None:
    """S2-39."""
    environ = Asked(**EDGE)
    load_config(environ)

    names = _names(EXAMPLE.split("\n# The server")[0])

    assert names == environ.names - set(REMOVED) | set(OF_CLOUDFLARE) | {"CLOUDFLARE_API_BASE_URL"}


def test_the_server_reads_what_the_example_has_for_it() -> None:
    environ = Asked()
    read_settings(environ, {})

    assert _names(EXAMPLE.split("\n# The server")[1]) <= environ.names
