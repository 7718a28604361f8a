"""The double as a process: prints one JSON line when ready, ends when its stdin does."""

import argparse
import json
import sys
import threading
from collections.abc import Sequence
from dataclasses import fields

from local_stack.bedrock_double.double import BedrockDouble
from local_stack.bedrock_double.settings import DoubleSettings

_TICK_SECONDS = 0.1


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until the other end of stdin is closed, even by a `kill -9` of the launcher."""
    options = vars(_parser().parse_args(arguments))
    port = options.pop("port")
    stdin_closed = threading.Event()
    with BedrockDouble(DoubleSettings(**options), port=port) as double:
        sys.stdout.write(json.dumps({"port": int(double.url.rpartition(":")[2])}) + "\n")
        sys.stdout.flush()
        threading.Thread(target=_watch_stdin, args=(stdin_closed,), daemon=True).start()
        while not stdin_closed.wait(_TICK_SECONDS):
            double.close()


def _watch_stdin(closed: threading.Event) -> None:
    sys.stdin.buffer.read()
    closed.set()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local_stack.bedrock_double",
        description="A loopback Bedrock for the local stack and tests.",
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 = a free one")
    for setting in fields(DoubleSettings):
        parser.add_argument(
            "--" + setting.name.replace("_", "-"),
            type=setting.type,
            default=setting.default,
            help=f"{setting.metadata['help']} (default: {setting.default!r})",
        )
    return parser


if __name__ == "__main__":
    main()
