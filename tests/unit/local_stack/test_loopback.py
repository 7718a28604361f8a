"""Clients of the local stack cannot talk to anything but loopback."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

from local_stack.loopback import LoopbackClients, NotLoopbackError, require_loopback

ENDPOINT = "http://127.0.0.1:4000"
BEDROCK = "http://127.0.0.1:5000"


@pytest.fixture
def hostile_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the process everything by which boto3 usually finds an account."""
    config = tmp_path / "config"
    config.write_text(
        "[profile production]\nregion = eu-west-1\nservices = away\n"
        "[services away]\ns3 =\n  endpoint_url = https://s3.amazonaws.com\n"
    )
    for name, value in {
        "AWS_PROFILE": "production",
        "AWS_CONFIG_FILE": str(config),
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_SESSION_TOKEN": "token",
        "AWS_BEARER_TOKEN_BEDROCK": "bearer",
        "AWS_ENDPOINT_URL": "https://amazonaws.com",
        "AWS_ENDPOINT_URL_S3": "https://s3.amazonaws.com",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "HTTP_PROXY": "http://proxy.example:3128",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.2/credentials",
    }.items():
        monkeypatch.setenv(name, value)


class Wire:
    """Takes requests at the very end of botocore, where they would go out."""

    def __init__(self) -> None:
        self.requests: list[AWSPreparedRequest] = []

    def attach(self, client: Any) -> Any:
        client.meta.events.register_last("before-send", self._take)
        return client

    def _take(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        self.requests.append(request)
        raw: Any = _EmptyBody()
        return AWSResponse(request.url, 200, HTTPHeaders(), raw)


class _EmptyBody:
    def stream(self) -> Iterator[bytes]:
        return iter(())


@pytest.mark.usefixtures("hostile_environment")
def test_ambient_settings_change_neither_address_nor_credentials() -> None:
    wire = Wire()
    clients = LoopbackClients(ENDPOINT, {"bedrock": BEDROCK})

    wire.attach(clients.client("s3")).get_object(Bucket="a-bucket", Key="key")
    wire.attach(clients.client("bedrock")).list_custom_models()

    assert [request.url for request in wire.requests] == [
        f"{ENDPOINT}/a-bucket/key",
        f"{BEDROCK}/custom-models",
    ]
    for request in wire.requests:
        assert b"Credential=test/" in request.headers["Authorization"]
        assert "X-Amz-Security-Token" not in request.headers


@pytest.mark.usefixtures("hostile_environment")
def test_no_proxy_is_used() -> None:
    client = LoopbackClients(ENDPOINT).client("sqs")

    assert client._endpoint.http_session._proxy_config.proxy_url_for(ENDPOINT) is None


def test_a_request_that_changed_its_address_is_stopped_before_it_leaves() -> None:
    wire = Wire()
    client = wire.attach(LoopbackClients(ENDPOINT).client("s3"))

    def redirect(request: Any, **_: object) -> None:
        request.url = "https://s3.amazonaws.com/a-bucket"

    client.meta.events.register("before-sign", redirect)

    with pytest.raises(NotLoopbackError, match=r"s3\.amazonaws\.com"):
        client.list_buckets()
    assert wire.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "https://s3.amazonaws.com",
        "http://localhost:4000",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@example.com",
        "http://example.com\\@127.0.0.1",
        "http://0.0.0.0:4000",
        "http://169.254.169.254",
        "ftp://127.0.0.1",
        "127.0.0.1:4000",
        "",
    ],
)
def test_other_addresses_are_rejected(url: str) -> None:
    with pytest.raises(NotLoopbackError, match="--stack-name"):
        require_loopback(url)
    with pytest.raises(NotLoopbackError):
        LoopbackClients(url)
    with pytest.raises(NotLoopbackError):
        LoopbackClients(ENDPOINT, {"bedrock": url})


@pytest.mark.parametrize("url", ["http://127.0.0.1:4000", "https://127.8.9.10", "http://[::1]:1"])
def test_loopback_addresses_are_accepted(url: str) -> None:
    assert require_loopback(url) == url
