"""What can be typed about the database: `db migrate`, `status`, `copy`, `backup`, `restore`, `check`; and `doctor`."""

import argparse
from pathlib import Path

from millrace.cli.parsing import Commands


def add_db(commands: Commands) -> None:
    """Add the commands of the database."""
    db = commands.add_parser(
        "db",
        help="schema, copies, backups and checks of the database",
        description="Bring up the schema of a database, move it, back it up, put it back and check it.",
    )
    verbs = db.add_subparsers(title="commands", metavar="COMMAND", required=True)
    migrate = _add_verb(verbs, "migrate", "bring the database to this program's schema, as each start does")
    migrate.add_argument("--status", action="store_true", help="only show where it stands")
    migrate.add_argument("--sql", action="store_true", help="print what would be run, and change nothing")
    migrate.add_argument("--env", choices=("local", "prod"), help="accepted for scripts; the place decides")
    _add_verb(verbs, "status", "show where the schema stands")
    _add_copy(verbs)
    backup = _add_verb(verbs, "backup", "write the store of this moment into a file, also while servers are at work")
    backup.add_argument("file", metavar="FILE", type=Path, help="new file, a SQLite database")
    _add_restore(verbs)
    check = _add_verb(verbs, "check", "look for what is wrong in the store; exit code 1 when something is")
    check.add_argument("file", metavar="FILE", type=Path, nargs="?", help="a backup, in place of the store")


def add_doctor(commands: Commands) -> None:
    """Add `doctor`."""
    doctor = commands.add_parser(
        "doctor",
        help="look at settings, store and machine, and say what to do",
        description="Look at settings, store and machine, and say what to do about what is not as it should be; exit "
        "code 1 when something fails.",
        allow_abbrev=False,
    )
    doctor.set_defaults(run="doctor:run", refuse=doctor.error)
    _add_place(doctor)


def _add_copy(verbs: Commands) -> None:
    does = "copy a whole store into an empty place, or go on with a copy that was interrupted"
    copy = verbs.add_parser("copy", help=does, description=f"{does[0].upper()}{does[1:]}.", allow_abbrev=False)
    copy.set_defaults(run="db:copy")
    place = "sqlite:///path/millrace.db (four slashes from the root) or postgresql://user@host/database"
    copy.add_argument("--from", dest="source", metavar="URL", required=True, help=place)
    copy.add_argument("--to", dest="target", metavar="URL", required=True, help="an empty place, in the same words")
    copy.add_argument("--json", action="store_true", help="print JSON")


def _add_restore(verbs: Commands) -> None:
    restore = _add_verb(verbs, "restore", "put a backup into an empty place")
    restore.add_argument("file", metavar="FILE", type=Path, help="what backup has written")
    restore.add_argument("--replace", action="store_true", help="remove the store that is there")
    restore.add_argument("--yes", action="store_true", help="confirm that with --replace all of it is lost")


def _add_verb(verbs: Commands, name: str, does: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", allow_abbrev=False)
    verb.set_defaults(run=f"db:{name}", refuse=verb.error, status=False, sql=False)
    _add_place(verb)
    return verb


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, metavar="DIR", help="data directory (DATA_DIR, data)")
    parser.add_argument("--store", metavar="URL", help="postgresql://… in place of the directory (DATABASE_URL)")
    parser.add_argument("--json", action="store_true", help="print JSON")
