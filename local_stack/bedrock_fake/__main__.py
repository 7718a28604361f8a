"""The fake as a process: `python -m local_stack.bedrock_fake`."""

import os

from local_stack.bedrock_fake.app import FakeBedrock
from local_stack.bedrock_fake.process import parse, serve
from local_stack.bedrock_fake.settings import FakeSettings
from local_stack.processes import CALLER

_TICK_SECONDS = 0.1


def main() -> None:
    """Serve until the other end of stdin closes, also when the launcher is killed."""
    settings, port = parse(
        "bedrock_fake", "Serve a fake Amazon Bedrock on 127.0.0.1.", FakeSettings
    )
    caller = {name: os.environ[name] for name in CALLER if name in os.environ}
    with FakeBedrock(settings, port=port, caller=CALLER | caller) as fake:
        stdin_closed = serve(fake.url)
        while not stdin_closed.wait(_TICK_SECONDS):
            fake.process_due()


if __name__ == "__main__":
    main()
