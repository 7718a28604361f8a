"""The fake as a process: `python -m local_stack.s3_vectors_fake`."""

from local_stack.bedrock_fake.process import parse, serve
from local_stack.s3_vectors_fake.app import FakeS3Vectors
from local_stack.s3_vectors_fake.settings import S3VectorsSettings


def main() -> None:
    """Serve until the other end of stdin closes, also when the launcher is killed."""
    settings, port = parse(
        "s3_vectors_fake", "Serve a fake Amazon S3 Vectors on 127.0.0.1.", S3VectorsSettings
    )
    with FakeS3Vectors(settings, port=port) as fake:
        serve(fake.url).wait()


if __name__ == "__main__":
    main()
