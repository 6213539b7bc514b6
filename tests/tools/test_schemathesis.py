"""The OpenAPI document held against the server: no 5xx, and no status that the document does not name."""

import subprocess
from pathlib import Path

from tests.support import IS_SOAK, Server, with_packages

REQUIREMENTS = Path(__file__).parent / "schemathesis.txt"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,ignored_auth"
EXAMPLES = 30 if IS_SOAK else 4
STREAMS = "(/runs/.+/events|/api/messages/.+/events|/api/tail)$"  # answers that go on for as long as somebody listens


def test_the_server_keeps_to_its_document_whatever_it_is_sent(server: Server, tmp_path: Path):
    server.create_queue("fuzzed", consumer={"type": "http_pull"})
    pinned = REQUIREMENTS.read_text().split()  # in an environment of its own: its dependencies do not go with ours
    command = [
        *with_packages(*pinned),
        "schemathesis",
        "run",
        f"{server.url}/openapi.json",
        "-H",
        f"Authorization: Bearer {server.key}",
    ]
    command += ["--checks", CHECKS, "-n", str(EXAMPLES), "--no-color", "--seed", "1"]
    command += ["--exclude-path-regex", STREAMS]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert not [line for line in server.log_lines() if line["level"] == "error"]
