"""Where a command finds its store, and what it says of a place that cannot be one."""

from pathlib import Path

import psycopg
import pytest

from millrace.cli.printing import with_cause
from millrace.config import read_settings
from millrace.errors import ConfigurationError, StoreUnavailable
from millrace.sql.postgres.connection import complete, connect, unavailable
from tests.cli.commands import run

POSTGRES = "postgresql://millrace@db/millrace"


@pytest.mark.parametrize(
    ("url", "beginning"),
    [
        ("mysql://u:hidden@db/x", "mysql://"),
        ("sqlite://data/millrace.db", "sqlite://"),
        ("postgresql:/u:hidden@db/x", "postgresql:/"),
        ("u:hidden@db/x", "u:"),
        ("/var/lib/millrace", "/"),
    ],
)
def test_a_url_of_another_kind_is_refused_by_its_beginning(url: str, beginning: str) -> None:
    with pytest.raises(ConfigurationError, match=f"begins with {beginning!r}; expected postgresql") as refused:
        read_settings({"DATABASE_URL": url}, {})

    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("environ", [{}, {"DATABASE_URL": "sqlite:///data/millrace.db"}])
def test_a_direct_url_without_a_database_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="no PostgreSQL database to go with it"):
        read_settings({**environ, "DIRECT_DATABASE_URL": POSTGRES}, {})


def test_a_direct_url_cannot_name_a_file() -> None:
    with pytest.raises(ConfigurationError, match="DIRECT_DATABASE_URL begins with 'sqlite:///'; expected postgresql"):
        read_settings({"DATABASE_URL": POSTGRES, "DIRECT_DATABASE_URL": "sqlite:///data/millrace.db"}, {})


def test_two_names_for_the_data_directory_must_agree() -> None:
    store = "sqlite:///there/millrace.db"

    assert read_settings({"DATA_DIR": "here"}, {"store": store}).data == Path("there")
    assert read_settings({}, {"store": store, "data": Path("there")}).data == Path("there")
    with pytest.raises(ConfigurationError, match="--data is 'here', but --store or DATABASE_URL names 'there'"):
        read_settings({"DATABASE_URL": store}, {"data": Path("here")})


def test_data_goes_before_the_database_of_the_environment(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": "postgresql://nowhere.invalid/x", "MILLRACE_ROLE": "api"}

    done = run("keys", "list", "--data", tmp_path / "data", environ=environ)

    assert (done.code, done.out) == (0, "no keys\n")


@pytest.mark.parametrize("verb", ["keys list", "secret list", "audit", "doctor"])
def test_a_directory_and_a_database_at_once_are_refused(verb: str, tmp_path: Path) -> None:
    done = run(*verb.split(), "--data", tmp_path, "--store", POSTGRES)

    assert done.code == 2
    assert "give one of them" in done.error


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hid%zzden@db/x",
        "postgresql://u:hid den@db/x",
        "postgresql://u:pw@hidden@db/x",
        "postgresql://u:hid/den@db/x",
    ],
)
def test_a_password_with_odd_characters_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="the URL of the database cannot be read: ") as refused:
        complete(url)

    assert "hid" not in str(refused.value)


def test_what_libpq_said_stands_below_the_sentence() -> None:
    with pytest.raises(StoreUnavailable) as refused:
        connect("postgresql://u:hidden@127.0.0.1:1/x")

    sentence, words = with_cause(refused.value, "; waiting for it").split("\n  ", 1)

    assert sentence.endswith("; waiting for it")
    assert "Connection refused" in words
    assert "hidden" not in words


def test_what_a_database_said_of_a_statement_is_not_shown() -> None:
    error = unavailable(psycopg.errors.DiskFull("a value"))
    error.__cause__ = psycopg.errors.DiskFull("a value")

    assert with_cause(error) == str(error)
