"""The patched emulator as a child process: `python -m local_stack.ministack_server FD`.

FD is a bound socket of the launcher. The first line of stdin is its configuration:
{"layers": {sha256: [folder, ...]}, "environment": {name: value}, "authorizations": file or null}.
It exits with all workers when stdin closes. `server_environment` returns its environment.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from local_stack.gate import Gate
from local_stack.processes import scrub


def server_environment(
    environ: Mapping[str, str], *, folder: Path, port: int, caller: Mapping[str, str]
) -> dict[str, str]:
    """Return the environment of the emulator, which its workers inherit."""
    return scrub(environ, home=folder) | {
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "AUTH": "true",
        **caller,
        # AWS waits one and two minutes.
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.1",
        # Both would listen beside the gateway, the second on all interfaces.
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        # It would remove containers of a Docker daemon at start.
        "DOCKER_HOST": f"unix://{folder}/no-docker",
        "POWERTOOLS_TRACE_DISABLED": "true",
    }


def main() -> None:
    """Configure, patch and serve until stdin closes."""
    # The emulator reads its environment when it is imported.
    from ministack.app import app  # noqa: PLC0415

    from local_stack.emulator_patches import (  # noqa: PLC0415
        apply_patches,
        record_authorizations,
    )

    threading.Thread(target=_import_translator, daemon=True).start()
    line = sys.stdin.buffer.readline()
    if not line:
        return
    threading.Thread(target=_end_with_parent, daemon=True).start()
    settings = json.loads(line)
    # Workers inherit these.
    os.environ.update(settings["environment"])
    apply_patches(layers=settings["layers"], folder=Path(os.environ["HOME"]))
    if settings["authorizations"]:
        record_authorizations(Path(settings["authorizations"]))

    config = Config()
    config.bind = [f"fd://{sys.argv[1]}"]
    config.keep_alive_timeout = 75
    gate: Any = Gate(app, port=int(os.environ["GATEWAY_PORT"]))
    asyncio.run(serve(gate, config))


def _end_with_parent() -> None:
    """Wait until stdin closes, then kill this process and all workers."""
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


def _import_translator() -> None:
    """Import what the first `create_stack` needs, which takes 0.6 s."""
    importlib.import_module("samtranslator.translator.transform")


if __name__ == "__main__":
    main()
