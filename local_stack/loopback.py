"""Clients that can only talk to this machine, whatever the surrounding environment says."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
from botocore.tokens import TokenProviderChain

from local_stack.environment import CALLER


class NotLoopbackError(RuntimeError):
    """A request of the local stack would have left this machine."""


def require_loopback(url: str) -> str:
    """Return `url` if it names a loopback IP address.

    Names are refused too, even `localhost`: what they resolve to is for others to decide. So are
    user info and backslashes, which URL parsers read differently.
    Raises `NotLoopbackError` for everything but 127.0.0.0/8 and ::1.
    """
    if "\\" not in url and "@" not in url:
        parts = urlsplit(url)
        try:
            is_loopback = ipaddress.ip_address(parts.hostname or "").is_loopback
        except ValueError:
            is_loopback = False
        if is_loopback and parts.scheme in ("http", "https"):
            return url
    raise NotLoopbackError(
        f"the local stack talks to 127.0.0.1 only, and refuses {url!r}; "
        "use --stack-name to work with an AWS account"
    )


class LoopbackClients:
    """A source of boto3 clients bound to loopback endpoints.

    Profiles, shared files, ambient credentials, proxies and AWS_* variables are ignored,
    and every single request is checked again just before it is sent.
    """

    def __init__(self, endpoint: str, overrides: Mapping[str, str] | None = None) -> None:
        self._endpoint = require_loopback(endpoint)
        self._overrides = {name: require_loopback(url) for name, url in (overrides or {}).items()}
        self._made: dict[tuple[str, float], Any] = {}
        # The stubs overload `client` by literal names, and here the name is a variable.
        self._session: Any = _isolated_session()

    def client(self, service: str, *, timeout_seconds: float = 60) -> Any:
        """Return the client for `service`, at its override or at the common endpoint."""
        key = (service, timeout_seconds)
        if key not in self._made:
            self._made[key] = self._make(service, timeout_seconds)
        return self._made[key]

    def _make(self, service: str, timeout_seconds: float) -> Any:
        endpoint = self._overrides.get(service, self._endpoint)
        config = Config(
            proxies={},
            read_timeout=timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": 2},
            s3={"addressing_style": "path"},
            signature_version="s3v4" if service == "s3" else "v4",
        )
        return self._session.client(service, endpoint_url=endpoint, config=config)


def _isolated_session() -> boto3.Session:
    """Return a session that reads no variable, no file and no instance metadata."""
    deaf: dict[str, Any] = {
        name: (key, None, default, convert)
        for name, (key, _, default, convert) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()
    }
    deaf["config_file"] = deaf["credentials_file"] = (None, None, os.devnull, None)
    deaf["profile"] = (None, None, None, None)
    session = botocore.session.Session(session_vars=deaf)
    session.set_credentials(CALLER["AWS_ACCESS_KEY_ID"], CALLER["AWS_SECRET_ACCESS_KEY"])
    # AWS_BEARER_TOKEN_BEDROCK would otherwise replace the signature of Bedrock calls.
    session.register_component("token_provider", TokenProviderChain(providers=[]))
    session.get_component("event_emitter").register_first("before-send", _refuse_to_leave)
    return boto3.Session(botocore_session=session, region_name=CALLER["AWS_DEFAULT_REGION"])


def _refuse_to_leave(request: AWSPreparedRequest, **_: object) -> None:
    """Stop a request whose final address is elsewhere, e.g. after a redirect or a host prefix."""
    require_loopback(str(request.url))
