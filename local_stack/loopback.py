"""boto3 clients that can only reach this machine, in any environment.

boto3 is imported with the first client, so that importing this module is cheap.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from local_stack.processes import CALLER

# ruff: noqa: PLC0415 - imports of boto3 are deferred


class NotLoopbackError(RuntimeError):
    """A request would have left this machine."""


def require_loopback(url: str) -> str:
    """Return `url` if it names a loopback IP address; raises `NotLoopbackError` otherwise.

    Host names are rejected, even `localhost`, because they may resolve to other addresses. So are
    user info and backslashes, which URL parsers interpret differently.
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
        f"not a loopback address: {url!r}. Use --stack-name to work with an AWS account."
    )


class LoopbackClients:
    """A source of boto3 clients bound to loopback endpoints.

    Profiles, shared files, ambient credentials, proxies and AWS_* variables are ignored. Each
    request is checked again just before it is sent.
    """

    def __init__(
        self,
        endpoint: str,
        overrides: Mapping[str, str] | None = None,
        caller: Mapping[str, str] = CALLER,
    ) -> None:
        self._caller = caller
        self._endpoint = require_loopback(endpoint)
        self._overrides = {name: require_loopback(url) for name, url in (overrides or {}).items()}
        self._clients: dict[tuple[str, float], Any] = {}

    def client(self, service: str, *, timeout_seconds: float = 60) -> Any:
        """Return the client of a service, at its override or at the common endpoint."""
        key = (service, timeout_seconds)
        if key not in self._clients:
            self._clients[key] = self._make(service, timeout_seconds)
        return self._clients[key]

    def _make(self, service: str, timeout_seconds: float) -> Any:
        from botocore.config import Config

        config = Config(
            proxies={},
            read_timeout=timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": 2},
            s3={"addressing_style": "path"},
            signature_version="s3v4" if service == "s3" else "v4",
        )
        endpoint = self._overrides.get(service, self._endpoint)
        return self._session.client(service, endpoint_url=endpoint, config=config)

    @cached_property
    def _session(self) -> Any:
        """A boto3 session that reads no variable, no file and no instance metadata."""
        import boto3
        import botocore.session
        from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
        from botocore.tokens import TokenProviderChain

        variables: dict[str, Any] = {
            name: (key, None, default, convert)
            for name, (key, _, default, convert) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()
        }
        variables["config_file"] = (None, None, os.devnull, None)
        variables["credentials_file"] = (None, None, os.devnull, None)
        variables["profile"] = (None, None, None, None)
        session = botocore.session.Session(session_vars=variables)
        caller = self._caller
        session.set_credentials(caller["AWS_ACCESS_KEY_ID"], caller["AWS_SECRET_ACCESS_KEY"])
        # AWS_BEARER_TOKEN_BEDROCK would otherwise replace the signature of Bedrock calls.
        session.register_component("token_provider", TokenProviderChain(providers=[]))
        session.get_component("event_emitter").register_first("before-send", _check_address)
        return boto3.Session(botocore_session=session, region_name=caller["AWS_DEFAULT_REGION"])


def _check_address(request: Any, **_: object) -> None:
    """Reject a request whose address has changed, e.g. by a redirect or a host prefix."""
    require_loopback(str(request.url))
