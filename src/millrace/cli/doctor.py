"""`millrace doctor`: looks at what a start and a day's work need, and says what to do about what is wrong."""

import argparse
import os
import platform
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import msgspec

from millrace import __version__
from millrace.cli.applications import SCHEMAS
from millrace.cli.check import check_file
from millrace.cli.db import place_in
from millrace.cli.directory import settings_of
from millrace.cli.printing import print_json, print_lines
from millrace.clock import wall_ms
from millrace.config import Settings
from millrace.errors import MillraceError
from millrace.moving import sqlite, symptoms
from millrace.moving.checking import lacking_rights
from millrace.moving.moves import reading
from millrace.moving.places import Place
from millrace.moving.sqlite import known_tables
from millrace.moving.standing import postgres_side, versions_in
from millrace.moving.symptoms import Finding
from millrace.sql.sqlite.directory import DATABASE, lock_directory
from millrace.wrangler.finding import find_wrangler
from millrace.wrangler.reading import read_wrangler

FEW_FILES = 4_096
LITTLE_BYTES, VERY_LITTLE_BYTES = 2 * 1024**3, 200 * 1024**2
NAMES = (  # of the environment; values are shown of none
    *("DATA_DIR", "DATABASE_URL", "DIRECT_DATABASE_URL", "MILLRACE_ROLE", "HOST", "PORT", "ACCOUNT_ID", "ADMIN_TOKEN"),
    *("MASTER_KEY", "AUTH_MODE", "HANDLER_PROCESSES", "FETCH_ALLOW", "PUBLIC_URL", "R2_ENDPOINT", "JWT_SECRET"),
)
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MARKS = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}


def run(arguments: argparse.Namespace) -> int:
    """Look at everything, and give 1 when something fails."""
    found = list(_look(arguments))
    if arguments.json:
        print_json([msgspec.to_builtins(finding) for finding in found])
    else:
        for finding in found:
            print_lines(f"{MARKS[finding.state]}  {finding.what}: {finding.found}")
            if finding.advice:
                print_lines(f"      {finding.advice}")
    return int(any(finding.state == "fail" for finding in found))


def _look(arguments: argparse.Namespace) -> Iterator[Finding]:
    yield Finding(
        "ok", "millrace", f"{__version__}, Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}"
    )
    yield _files()
    try:
        settings = settings_of(arguments)
        place = place_in(arguments)
    except MillraceError as error:
        yield Finding("fail", "settings", str(error), "correct it; docs/settings.md has a line for each")
        return
    yield from _settings(settings)
    yield _wrangler()
    yield from _carefully("store", lambda: _store(place, settings))


def _carefully(what: str, looks: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Let one look that fails be a finding, so that the others are made."""
    try:
        yield from looks()
    except MillraceError as error:
        yield Finding("fail", what, str(error), "nothing is served until it is mended")


def _files() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = "unlimited" if hard == resource.RLIM_INFINITY else f"{hard:,}"
    if hard == resource.RLIM_INFINITY or hard >= FEW_FILES:
        return Finding("ok", "open files", found)
    return Finding("warn", "open files", found, f"each caller needs one; raise the hard limit to {FEW_FILES:,} or more")


def _settings(settings: Settings) -> Iterator[Finding]:
    given = [name for name in NAMES if os.environ.get(name)]
    dotenv = f"{Path('.env').resolve()}; " if Path(".env").is_file() else ""
    yield Finding("ok", "settings", f"{dotenv}set: {', '.join(given) or 'none'}")
    if not settings.master_key and settings.store is not None:
        advice = "no secret can be stored or read; set the same MASTER_KEY for all servers"
        yield Finding("warn", "master key", "not set", advice)
    if settings.host not in LOOPBACK and not settings.admin_token:
        advice = "the key of the first start is printed once; set ADMIN_TOKEN if that is nobody's to read"
        yield Finding("warn", "admin key", f"ADMIN_TOKEN is not set, and the host is {settings.host}", advice)


def _wrangler() -> Finding:
    path, warning = find_wrangler(Path.cwd())
    if path is None:
        return Finding("ok", "handlers", "no wrangler file from here upwards")
    try:
        file = read_wrangler(path, None)
        check_file(file, os.environ)
    except MillraceError as error:
        return Finding("fail", "handlers", f"{path}: {error}", "correct the file; millrace serve would not start")
    found = f"{path}: {len(file.consumers)} consumed queue(s)"
    warnings = [*([warning] if warning else []), *file.warnings]
    return Finding("warn" if warnings else "ok", "handlers", found, "; ".join(warnings))


def _store(place: Place, settings: Settings) -> Iterator[Finding]:
    if place.kind == "sqlite":
        yield from _disk(place.path.parent)
        if not place.path.exists():
            yield Finding("ok", "store", f"none yet in {place.path.parent}; millrace serve makes it")
            return
    versions = versions_in(place, SCHEMAS)
    pending = [version for version in versions if version.pending]
    schema = ", ".join(f"{version.name} {version.present}" for version in versions)
    if pending:
        yield Finding("warn", "schema", schema, "run millrace db migrate; a start does the same, where it may")
    else:
        yield Finding("ok", "schema", schema)
    if versions[0].present:
        yield from (_file(place) if place.kind == "sqlite" else _database(place, settings))


def _file(place: Place) -> Iterator[Finding]:
    yield Finding("ok", "store", f"{place}, {place.path.stat().st_size / 1e6:,.1f} MB")
    if place.path.name == DATABASE:
        yield _server_on(place.path.parent)
    with reading(place) as side:
        now_ms = side.numbers().now_ms
        ahead_ms = now_ms - wall_ms()
        if ahead_ms > symptoms.CLOCKS_DIFFER_MS:
            advice = "the store goes on from the newest time it has seen; set this machine's clock"
            yield Finding("warn", "clock", f"{ahead_ms / 1000:.0f} s behind what the store has seen", advice)
        yield from symptoms.queues(side, max(now_ms, wall_ms()))
    with sqlite.writing(place.path) as writer:
        yield symptoms.speed(writer)


def _server_on(folder: Path) -> Finding:
    try:
        lock_directory(folder).close()
    except MillraceError:
        return Finding("ok", "servers", f"one is at work on {folder}")
    return Finding("ok", "servers", "none at work")


def _database(place: Place, settings: Settings) -> Iterator[Finding]:
    module = postgres_side()
    yield Finding("ok", "store", str(place))
    with module.reading(place.location) as side:
        for lacking in lacking_rights(side, known_tables(SCHEMAS)):
            yield Finding("fail", "rights", lacking, "docs/operating.md has the statements, under Security")
        yield from symptoms.database(side, wall_ms)
        yield from symptoms.queues(side, wall_ms())
    with module.writing(place.location) as side:
        yield symptoms.speed(side)
    with module.writing(settings.store or place.location) as side:
        pooled = side.is_pooled()
    direct = None
    if settings.direct_store is not None:
        with module.writing(settings.direct_store) as side:
            direct = side.is_pooled()
    yield symptoms.listening(pooled, direct)


def _disk(folder: Path) -> Iterator[Finding]:
    there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free
    found = f"{free / 1e9:,.1f} GB free for {folder}"
    if free < VERY_LITTLE_BYTES:
        yield Finding("fail", "disk", found, "make room: sends are refused when it is full")
    elif free < LITTLE_BYTES:
        yield Finding("warn", "disk", found, "make room before it is full: sends are refused then")
    else:
        yield Finding("ok", "disk", found)
    if not os.access(there, os.W_OK):
        yield Finding("fail", "disk", f"{there} cannot be written by this user", "run as the user who owns it")
