"""The layer is stripped of what no function needs, and of nothing else."""

import re
from pathlib import Path

from local_stack.stripping import SERVICES, size_of, strip
from tests.conftest import TESTS

DEPENDENCIES = TESTS.parent / "layers/shared/search_router/dependencies.py"


def test_the_services_kept_are_those_that_clients_are_made_of() -> None:
    made = set(re.findall(r'_client\("([a-z0-9-]+)"', DEPENDENCIES.read_text("utf-8")))

    assert made | {"xray"} == SERVICES


def test_only_the_data_of_other_services_goes(tmp_path: Path) -> None:
    # GIVEN packages with data of a service that is used, of one that is not, and of all services
    kept = [
        "botocore/data/s3/2006-03-01/service-2.json.gz",
        "botocore/data/endpoints.json",
        "botocore/client.py",
        "boto3/data/dynamodb/2012-08-10/resources-1.json",
        "aws_lambda_powertools/event_handler/openapi/swagger_ui/html.py",
    ]
    gone = [
        "botocore/data/ec2/2016-11-15/service-2.json.gz",
        "boto3/data/ec2/2016-11-15/resources-1.json",
        "aws_lambda_powertools/event_handler/openapi/swagger_ui/swagger-ui.min.css",
    ]
    for name in [*kept, *gone]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")

    # WHEN they are stripped
    removed = strip(tmp_path)

    # THEN only the second is gone
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(kept)
    assert (removed, size_of(tmp_path)) == (5 * len(gone), 5 * len(kept))
