import os
from pathlib import Path

import pytest

from millrace.edge_jobs import load_config
from millrace.edge_jobs.config import REMOVED
from millrace.errors import ConfigurationError

EDGE = {"EDGE_BASE_URL": "http://127.0.0.1:8787", "EDGE_API_TOKEN": "the-token"}
GATEWAY = {"AI_GATEWAY_URL": "https://gateway.example", "GOOGLE_API_KEY": "the-google-key"}
R2 = {
    "R2_ENDPOINT": "https://account.r2.cloudflarestorage.com",
    "R2_ACCESS_KEY_ID": "the-id",
    "R2_SECRET_ACCESS_KEY": "the-secret",
    "R2_BUCKET": "uploads",
}


def test_two_variables_are_enough() -> None:
    """S2-58, X16."""
    config = load_config(EDGE)

    assert (config.base_url, config.api_token) == ("http://127.0.0.1:8787", "the-token")
    assert (config.batch_size, config.visibility_timeout) == (10, 60)
    assert (config.gemini_chat_model, config.gemini_embed_model) == ("gemini-2.0-flash", "text-embedding-004")
    assert (config.gemini, config.r2, config.pipeline, config.unused) == (None, None, "builtin", ())


@pytest.mark.parametrize("group", [EDGE, GATEWAY, R2], ids=["edge", "gateway", "r2"])
def test_each_missing_variable_of_a_group_is_named(group: dict[str, str]) -> None:
    """S2-35."""
    for name in group:
        for value in ("", "  ", None):
            environ = {key: text for key, text in {**EDGE, **group, name: value}.items() if text is not None}
            with pytest.raises(ConfigurationError, match=name):
                load_config(environ)


def test_all_groups_together_are_read() -> None:
    config = load_config({**EDGE, **GATEWAY, **R2})

    assert config.gemini.gateway_url == "https://gateway.example"
    assert config.r2.bucket == "uploads"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BATCH_SIZE", "0"),
        ("BATCH_SIZE", "101"),
        ("BATCH_SIZE", "ten"),
        ("VISIBILITY_TIMEOUT", "43201"),
        ("PIPELINE", "airflow"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is '{value}'; expected"):
        load_config({**EDGE, name: value})


def test_variables_of_before_are_told_of_and_not_needed() -> None:
    """S2-37."""
    assert load_config({**EDGE, **dict.fromkeys(REMOVED, "x")}).unused == REMOVED


def test_no_secret_is_in_what_is_printed() -> None:
    config = load_config({**EDGE, **GATEWAY, **R2})

    shown = f"{config!r} {config.gemini!r} {config.r2!r}"

    assert not any(secret in shown for secret in ("the-token", "the-google-key", "the-secret"))


def test_a_file_is_read_below_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("EDGE_BASE_URL=http://of-the-file\nEDGE_API_TOKEN='of $the file'\nBATCH_SIZE=3\n")
    monkeypatch.chdir(tmp_path)
    for name in ("EDGE_API_TOKEN", "BATCH_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(os.environ, "EDGE_BASE_URL", "http://of-the-environment")

    config = load_config()

    assert config.base_url == "http://of-the-environment"
    assert (config.api_token, config.batch_size) == ("of $the file", 3)
