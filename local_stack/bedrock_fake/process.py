"""A fake as a process: prints one JSON line when ready and exits when its stdin closes."""

import argparse
import json
import sys
import threading
from collections.abc import Sequence
from dataclasses import fields
from typing import TypeVar

from local_stack.bedrock_fake.settings import Settings

S = TypeVar("S", bound=Settings)


def parse(
    module: str, description: str, settings: type[S], arguments: Sequence[str] | None = None
) -> tuple[S, int]:
    """Return the settings and the port that the command line names."""
    parser = argparse.ArgumentParser(
        prog=f"python -m local_stack.{module}", description=description
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 = a free one")
    for setting in fields(settings):
        parser.add_argument(
            "--" + setting.name.replace("_", "-"),
            type=setting.type,
            default=setting.default,
            help=f"{setting.metadata['help']} (default: {setting.default!r})",
        )
    options = vars(parser.parse_args(arguments))
    port: int = options.pop("port")
    return settings(**options), port


def serve(url: str) -> threading.Event:
    """Report the URL; return an event that is set when stdin closes."""
    stdin_closed = threading.Event()

    def watch_stdin() -> None:
        sys.stdin.buffer.read()
        stdin_closed.set()

    print(json.dumps({"url": url}), flush=True)  # noqa: T201
    threading.Thread(target=watch_stdin, daemon=True).start()
    return stdin_closed
