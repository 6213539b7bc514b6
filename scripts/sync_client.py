"""Write the client without `await` from the one with it: `python -m scripts.sync_client [--check]`.

Words are replaced token by token, so the twin reads as if it were written by hand. A function or class that has no
asynchronous word in it is not written twice but imported. With `--check` nothing is written, and the exit code is 1
when a twin is not what it should be.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "src" / "millrace"
TWINS = {
    "bindings.py": "client/sync_bindings.py",
    "client/async_calls.py": "client/sync_calls.py",
    "client/async_lookup.py": "client/sync_lookup.py",
    "client/async_queues.py": "client/sync_queues.py",
    "client/async_messages.py": "client/sync_messages.py",
    "client/asynchronous.py": "client/synchronous.py",
}
LINES = {
    "from millrace.bindings import Env, QueueBinding\n": "from millrace.bindings import Env\n"
    "from millrace.client.sync_bindings import QueueBinding\n",
}
WORDS = {
    "AsyncCalls": "Calls",
    "AsyncClient": "Client",
    "AsyncIterator": "Iterator",
    "AsyncLookup": "Lookup",
    "AsyncMessages": "Messages",
    "AsyncQueues": "Queues",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "aclose": "close",
    "async_calls": "sync_calls",
    "async_lookup": "sync_lookup",
    "async_messages": "sync_messages",
    "async_queues": "sync_queues",
    "asynchronous": "synchronous",
    "asyncio": "time",
    "home_of_loop": "home_of_process",
}
DROPPED = ("async", "await")
WRAPPER = "Awaitable"  # Awaitable[X] becomes X
WORD = re.compile(r"\w+")
RUFF = (sys.executable, "-m", "ruff")


class Edit(NamedTuple):
    """A piece of a text, by its offsets, and what comes in its place."""

    begin: int
    end: int
    text: str


def main(arguments: list[str]) -> int:
    """Write the twins, or with --check only compare them; give the exit code."""
    stale = []
    for source, twin in TWINS.items():
        wanted = write_twin(source)
        path = SOURCES / twin
        if not path.exists() or path.read_text() != wanted:
            stale.append(twin)
            if "--check" not in arguments:
                path.write_text(wanted)
    for twin in stale:
        print(f"{twin} {'is stale; run python -m scripts.sync_client' if '--check' in arguments else 'written'}")
    return 1 if stale and "--check" in arguments else 0


def write_twin(source: str) -> str:
    """Give the text of a module's twin."""
    text = (SOURCES / source).read_text()
    header = f"# Generated from src/millrace/{source} by scripts/sync_client.py; do not edit.\n"
    for line, other in LINES.items():
        text = text.replace(line, other)
    return header + _tidied(_replaced(_imported(text, _module(source))))


def _module(source: str) -> str:
    return "millrace." + source.removesuffix(".py").replace("/", ".")


def _imported(text: str, module: str) -> str:
    """Replace functions and classes without an asynchronous word by an import of their names."""
    nodes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    plain = [node for node in nodes if not _is_asynchronous(ast.get_source_segment(text, node) or "")]
    if not plain:
        return text
    lines = text.splitlines(keepends=True)
    for node in reversed(plain):
        del lines[node.lineno - 1 : node.end_lineno]
    last = max(node.end_lineno or 0 for node in ast.parse(text).body if isinstance(node, ast.ImportFrom))
    lines.insert(last, f"from {module} import {', '.join(node.name for node in plain)}\n")
    return "".join(lines)


def _is_asynchronous(text: str) -> bool:
    return any(word in WORDS or word in DROPPED or word == WRAPPER for word in WORD.findall(text))


def _replaced(text: str) -> str:
    for edit in sorted(_edits(text), reverse=True):
        text = text[: edit.begin] + edit.text + text[edit.end :]
    return text


def _edits(text: str) -> Iterator[Edit]:
    """Find what is to be replaced: words, also within strings and comments, and the brackets around awaited values."""
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for index, token in enumerate(tokens):
        begin = starts[token.start[0] - 1] + token.start[1]
        end = starts[token.end[0] - 1] + token.end[1]
        if token.string in DROPPED:
            yield Edit(begin, end + 1, "")  # with the space behind it
        elif token.string == WRAPPER and tokens[index + 1].string == "[":
            close = tokens[_closing(tokens, index + 1)]
            yield Edit(begin, end + 1, "")
            yield Edit(starts[close.start[0] - 1] + close.start[1], starts[close.end[0] - 1] + close.end[1], "")
        elif token.type in (tokenize.NAME, tokenize.STRING, tokenize.COMMENT):
            yield Edit(begin, end, WORD.sub(lambda found: WORDS.get(found[0], found[0]), token.string))


def _closing(tokens: list[tokenize.TokenInfo], opening: int) -> int:
    depth = 0
    for index in range(opening, len(tokens)):
        depth += (tokens[index].string == "[") - (tokens[index].string == "]")
        if depth == 0:
            return index
    raise ValueError("a bracket is not closed")


def _tidied(text: str) -> str:
    """Leave out imports that nothing needs any more, and have the rest sorted and wrapped as everywhere."""
    for command in (("check", "--fix-only", "--quiet", "--select", "F401,I", "-"), ("format", "--quiet", "-")):
        done = subprocess.run([*RUFF, *command], input=text, capture_output=True, check=True, text=True, cwd=ROOT)
        text = done.stdout
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
