"""`python -m local_stack [OPTIONS_AS_JSON]`: run the stack until a signal ends it."""

from __future__ import annotations

import os
import sys

from local_stack.background import from_json, serve
from local_stack.launcher import LocalStackOptions
from local_stack.processes import LocalStackError


def main(arguments: list[str]) -> int:
    """Run in the foreground; the exit code is 1 if a part of the stack fails."""
    options = from_json(arguments[0]) if arguments else LocalStackOptions()
    try:
        serve(options, os.environ)
    except LocalStackError as error:
        print(error, file=sys.stderr)  # noqa: T201 - this is a command
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
