"""The fake as a process: `python -m local_stack.bedrock_fake`."""

from local_stack.bedrock_fake.app import FakeBedrock
from local_stack.bedrock_fake.process import parse, serve
from local_stack.bedrock_fake.settings import FakeSettings

_TICK_SECONDS = 0.1


def main() -> None:
    """Serve until the other end of stdin closes, also when the launcher is killed."""
    settings, port = parse(
        "bedrock_fake", "Serve a fake Amazon Bedrock on 127.0.0.1.", FakeSettings
    )
    with FakeBedrock(settings, port=port) as fake:
        stdin_closed = serve(fake.url)
        while not stdin_closed.wait(_TICK_SECONDS):
            fake.process_due()


if __name__ == "__main__":
    main()
