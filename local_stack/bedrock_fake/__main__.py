"""The fake as a process: prints one JSON line when ready and exits when its stdin closes."""

import argparse
import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import fields

from local_stack.bedrock_fake.app import FakeBedrock
from local_stack.bedrock_fake.settings import FakeSettings
from local_stack.processes import CALLER

_TICK_SECONDS = 0.1


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until the other end of stdin closes, also when the launcher is killed."""
    options = vars(_parser().parse_args(arguments))
    port = options.pop("port")
    stdin_closed = threading.Event()

    def watch_stdin() -> None:
        sys.stdin.buffer.read()
        stdin_closed.set()

    caller = {name: os.environ[name] for name in CALLER if name in os.environ}
    with FakeBedrock(FakeSettings(**options), port=port, caller=CALLER | caller) as fake:
        print(json.dumps({"url": fake.url}), flush=True)  # noqa: T201
        threading.Thread(target=watch_stdin, daemon=True).start()
        while not stdin_closed.wait(_TICK_SECONDS):
            fake.process_due()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local_stack.bedrock_fake",
        description="Serve a fake Amazon Bedrock on 127.0.0.1.",
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 = a free one")
    for setting in fields(FakeSettings):
        parser.add_argument(
            "--" + setting.name.replace("_", "-"),
            type=setting.type,
            default=setting.default,
            help=f"{setting.metadata['help']} (default: {setting.default!r})",
        )
    return parser


if __name__ == "__main__":
    main()
