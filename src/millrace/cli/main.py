"""The command `millrace` (and `ctx`): parse, load the one module that is needed, turn errors into exit codes.

Exit codes: 0 done, 1 failed, 2 used wrongly, 3 key refused, 4 server unreachable.
"""

import os
import sys
from importlib import import_module
from pathlib import Path

from millrace.cli.arguments import make_parser
from millrace.errors import Forbidden, MillraceError, Unauthenticated

FAILED, REFUSED, UNREACHABLE = 1, 3, 4


def main() -> None:
    """Run the command and exit with its code."""
    os.umask(0o077)  # a data directory that a command makes is nobody else's to read
    program = Path(sys.argv[0]).name
    arguments = make_parser("ctx" if program == "ctx" else "millrace").parse_args()
    module, function = arguments.run.split(":")
    try:
        code = getattr(import_module(f"millrace.cli.{module}"), function)(arguments)
        sys.stdout.flush()
    except (Unauthenticated, Forbidden) as error:
        code = _explain(error, REFUSED)
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except ConnectionError as error:
        code = _explain(error, UNREACHABLE)
    except MillraceError as error:
        code = _explain(error, FAILED)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _explain(error: Exception, code: int) -> int:
    from millrace.cli.printing import with_cause

    print(f"millrace: {with_cause(error)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
