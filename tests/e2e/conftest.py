"""A small stack of its own for the tests of the local stack."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from local_stack.launcher import PROJECT, LocalStack, LocalStackOptions

AMBIENT = {
    "AWS_PROFILE": "production",
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ENDPOINT_URL_S3": "https://s3.amazonaws.com",
    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "https://bedrock-runtime.us-east-1.amazonaws.com",
}
SAMPLE = Path(__file__).parent / "sample_stack"


@pytest.fixture(scope="session")
def sample_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample stack in a folder with a space, with the dependencies of the real layer."""
    folder = tmp_path_factory.mktemp("sample") / "a project"
    shutil.copytree(SAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "layers/shared/requirements.txt", folder / "layer")
    return folder / "template.yaml"


@pytest.fixture(scope="session")
def sample_stack(sample_template: Path) -> Iterator[LocalStack]:
    """The sample stack, started in an environment with AWS credentials."""
    with ExitStack() as running:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in AMBIENT.items():
                patch.setenv(name, value)
            options = LocalStackOptions(template=sample_template)
            stack = running.enter_context(LocalStack(options))
        yield stack
