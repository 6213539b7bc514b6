"""What the page about the client tells people to write does what its comments say."""

import os
import re
import subprocess
import sys

from tests.docs.pages import DOCS, blocks

PRINTED = re.compile(r"print\(.*\)  # (.*)$", re.MULTILINE)


def test_the_examples_print_what_their_comments_say(server, tmp_path):
    program = "\n".join(block.text for block in blocks(DOCS / "howto" / "client.md", "python"))
    environ = {**os.environ, "MILLRACE_URL": server.url, "MILLRACE_TOKEN": server.key}

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == PRINTED.findall(program)
