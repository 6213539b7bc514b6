"""Nothing of the engine knows what the applications are about: a search for the words of messages finds none."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2] / "src" / "millrace"
WORDS = re.compile(r"e-?mail|(?<![a-z])(sms|mail|mails|mailer|recipients?)(?![a-z])|twilio|smtp|resend", re.IGNORECASE)
KNOW = ("apps/messaging/", "cli/messaging", "messaging_config.py", "config.py", "cli/applications.py")
NOT_OURS = ("from email.utils import parsedate_to_datetime",)  # Python's reader of HTTP dates
OF_CLOUDFLARE = {"http/accounts.py": "email: str"}  # a field of its answer about members
KINDS = (".py", ".sql", ".html", ".css", ".js", ".toml")


def test_the_engine_does_not_know_the_words_of_messages() -> None:
    paths = [path for path in ROOT.rglob("*") if path.suffix in KINDS and not path.name.endswith(".min.js")]
    read = {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}

    found = [
        f"{name}:{number}: {line.strip()}"
        for name, text in read.items()
        if not name.startswith(KNOW)
        for number, line in enumerate(text.splitlines(), 1)
        if WORDS.search(line) and line.strip() not in (*NOT_OURS, OF_CLOUDFLARE.get(name))
    ]

    assert len(read) > 300
    assert found == []
