"""`.env` in the working directory."""

import os
from pathlib import Path

import pytest

from millrace.cli.environment import environment
from millrace.errors import ConfigurationError


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder of its own, with an environment that holds one variable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {"GIVEN": "process"})


def seen() -> dict[str, str]:
    return {name: value for name, value in environment().items() if name != "PYTEST_CURRENT_TEST"}


def test_without_a_file_the_environment_is_the_processs_own() -> None:
    assert seen() == {"GIVEN": "process"}


def test_the_file_stands_below_the_process_and_is_there_for_its_children(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# ours\nGIVEN=file\nexport NEW='a b'  # note\nEMPTY=\nBARE\n")

    assert seen() == {"GIVEN": "process", "NEW": "a b", "EMPTY": ""}
    assert os.environ["NEW"] == "a b"


def test_values_are_taken_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PASSWORD=pa$GIVEN${GIVEN}\n")

    assert environment()["PASSWORD"] == "pa$GIVEN${GIVEN}"


def test_a_file_that_is_no_text_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A=\xff\n")

    with pytest.raises(ConfigurationError, match=r"\.env cannot be read"):
        environment()
