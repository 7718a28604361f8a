"""`search-router VERB`: parse the arguments, run one verb, map errors to exit codes.

0: done. 1: the work failed and the message says what to do next. 2: wrong usage. 130: interrupted.
141: the reader of the output closed the pipe (128 + SIGPIPE, as a shell reports it).
"""

import contextlib
import io
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
    if sys.stdout is None:
        return fail("stdout is closed. Redirect it to a file or to /dev/null.")
    _show_any_character()
    os.umask(0o077)  # files that a verb writes may hold queries
    try:
        return _run(arguments)
    except (CommandError, SearchRouterError) as error:
        return fail(str(error))
    except ModuleNotFoundError as error:  # matplotlib, which `make demo` does not install
        return fail(f"{error.name} is not installed. Run `make setup`.")
    except BrokenPipeError:
        _discard_output()
        return _BY_SIGNAL + signal.SIGPIPE
    except OSError as error:
        _discard_output()
        return fail(_sentence(error))
    except KeyboardInterrupt:
        _discard_output()
        fail("interrupted")
        return _BY_SIGNAL + signal.SIGINT


def _show_any_character() -> None:
    """Escape characters that the encoding of the terminal lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(arguments: Sequence[str] | None) -> int:
    try:
        parsed = make_parser().parse_args(arguments)
    except SystemExit:  # after --help, whose text is still buffered
        sys.stdout.flush()
        raise
    code: int = pkgutil.resolve_name(parsed.run)(parsed)
    sys.stdout.flush()
    return code


def _sentence(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename is None:
        return f"cannot write the output: {reason}."
    return f"cannot read or write {error.filename}: {reason}."


def _discard_output() -> None:
    """Send the buffered output to /dev/null, or Python would fail again when it exits."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        return
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
