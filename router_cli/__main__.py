"""`search-router VERB`: parse the arguments, run one verb, map errors to exit codes.

0: done. 1: the work failed and the message says what to do next. 2: wrong usage. 130: interrupted.
141: the reader of the output closed the pipe (128 + SIGPIPE, as a shell reports it).
"""

import os
import pkgutil
import signal
import sys
from collections.abc import Sequence

from router_cli.console import CommandError, fail
from router_cli.verbs import make_parser
from search_router.domain.errors import SearchRouterError

_BY_SIGNAL = 128


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    parsed = make_parser().parse_args(arguments)
    os.umask(0o077)  # files that a verb writes may hold queries
    try:
        code: int = pkgutil.resolve_name(parsed.run)(parsed)
        sys.stdout.flush()
    except (CommandError, SearchRouterError) as error:
        return fail(str(error))
    except ModuleNotFoundError as error:  # matplotlib, which `make demo` does not install
        return fail(f"{error.name} is not installed. Run `make setup`.")
    except BrokenPipeError:
        _discard_output()
        return _BY_SIGNAL + signal.SIGPIPE
    except KeyboardInterrupt:
        fail("interrupted")
        return _BY_SIGNAL + signal.SIGINT
    return code


def _discard_output() -> None:
    """Send the buffered output to /dev/null, or Python would fail again when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
