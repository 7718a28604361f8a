"""Starts and stops the local stack: template.yaml on one machine, without Docker or an account."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self

from local_stack.connection import StackConnection, answers
from local_stack.deployment import deploy
from local_stack.fidelity import (
    TICKED,
    NotEmulated,
    changed_parameters,
    not_emulated,
    require_known,
)
from local_stack.loopback import LoopbackClients
from local_stack.ministack_server import server_environment
from local_stack.packaging import LayerArchive, build_layer, user_cache_folder, zip_folder
from local_stack.processes import (
    ChildProcess,
    LocalStackError,
    new_caller,
    own_folder,
    scrub,
    sweep_stale_folders,
)
from local_stack.state_file import STACK_NAME
from local_stack.template import FUNCTION, LAYER, SamTemplate
from local_stack.ticking import ticking_track_runs

PROJECT = Path(__file__).resolve().parent.parent
BEDROCK_FAKE, S3_VECTORS_FAKE = "local_stack.bedrock_fake", "local_stack.s3_vectors_fake"
AUTHORIZATIONS, BEDROCK_CALLS = "authorizations.jsonl", "bedrock-calls.jsonl"
S3_VECTORS_CALLS = "s3-vectors-calls.jsonl"
_START_SECONDS = 30.0
_POLL_SECONDS = 0.02
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class LocalStackOptions:
    """Options of a local stack, with defaults for a demo.

    `requests_per_minute` is the quota of the Bedrock fake and the default of the template's
    RequestsPerMinute. The seven options after it configure the fakes. `record_calls` writes the
    files AUTHORIZATIONS, BEDROCK_CALLS and S3_VECTORS_CALLS to the stack's folder.
    """

    template: Path = PROJECT / "template.yaml"
    parameters: Mapping[str, str] = field(default_factory=dict)
    tick_track_runs: bool = False
    requests_per_minute: int = 60_000
    mean_latency_ms: float = 20
    embedding_latency_ms: float = 0
    query_latency_ms: float = 0
    malformed_rate: float = 0.0
    job_seconds: float = 3
    deployment_seconds: float = 2
    seed: int = 0
    record_calls: bool = False


class LocalStack:
    """A context manager that runs one stack with its own folder, ports and processes.

    It removes all of them on exit, after an error, and on SIGINT, SIGTERM and SIGHUP (in the main
    thread). After `kill -9`, the processes end and the next start removes the folder. Raises
    `LocalStackError` if the stack cannot be started or deployed.
    """

    def __init__(self, options: LocalStackOptions | None = None) -> None:
        self._options = options or LocalStackOptions()
        self._template = SamTemplate.load(self._options.template)
        require_known(self._template)
        self._template.check_parameters(self._options.parameters)
        self._signals = contextlib.ExitStack()
        self._cleanup = contextlib.ExitStack()
        self._children: list[ChildProcess] = []
        self._connection: StackConnection | None = None
        self._caller = new_caller()

    def __enter__(self) -> Self:
        self._signals.enter_context(_signals_raising())
        try:
            self._connection = self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def connection(self) -> StackConnection:
        """The running stack's endpoints, outputs and clients."""
        if self._connection is None:
            raise LocalStackError("the local stack is not running")
        return self._connection

    @property
    def not_emulated(self) -> tuple[NotEmulated, ...]:
        """Where this stack differs from the template on AWS."""
        changed = changed_parameters(self._template, self.parameters)
        ticks = (TICKED,) if self._options.tick_track_runs else ()
        return not_emulated(self._template) + changed + ticks

    @property
    def parameters(self) -> dict[str, str]:
        """The parameter values that differ from the template's defaults."""
        local = {
            "Architecture": "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64",
            "RequestsPerMinute": str(self._options.requests_per_minute),
        }
        declared = self._template.parameters
        return {k: v for k, v in local.items() if k in declared} | dict(self._options.parameters)

    def require_alive(self) -> None:
        """Raise `LocalStackError` with the end of its log if a process of the stack has ended."""
        for child in self._children:
            child.require_alive()

    def stop(self) -> None:
        """End all processes and remove the folder; signals are ignored meanwhile."""
        with _signals_ignored():
            self._connection = None
            self._cleanup.close()
        self._signals.close()

    def _start(self) -> StackConnection:
        sweep_stale_folders()
        folder = self._cleanup.enter_context(own_folder())
        # The children start while the archives are built.
        emulator, endpoint = self._spawn_emulator(folder)
        bedrock_fake = self._spawn_bedrock_fake(folder, endpoint)
        vectors_fake = self._spawn_vectors_fake(folder)
        layers = self._build_layers(folder)
        archives = {name: layer.content for name, layer in layers.items()}
        archives |= {
            name: zip_folder(source)
            for name, source in self._template.code_folders(FUNCTION).items()
        }
        clients = LoopbackClients(endpoint, caller=self._caller)
        clients.client("s3")  # takes 0.2 s, while the children start

        bedrock, vectors = _url(bedrock_fake), _url(vectors_fake)
        authorizations = folder / AUTHORIZATIONS if self._options.record_calls else None
        endpoints = {"BEDROCK": bedrock, "BEDROCK_RUNTIME": bedrock, "S3VECTORS": vectors}
        emulator.send_line(_emulator_settings(layers.values(), endpoints, authorizations))
        _wait_until_healthy(emulator, endpoint)
        outputs = deploy(
            clients,
            self._template,
            archives,
            stack_name=STACK_NAME,
            parameters=self.parameters,
        )
        connection = StackConnection(
            endpoint, bedrock, vectors, outputs, os.getpid(), folder, self._caller
        )
        if self._options.tick_track_runs:
            self._cleanup.enter_context(ticking_track_runs(connection))
        return connection

    def _spawn_emulator(self, folder: Path) -> tuple[ChildProcess, str]:
        """Start ministack on a socket bound here, so that no other process gets its port."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            child = self._spawn(
                "ministack",
                ["local_stack.ministack_server", str(listener.fileno())],
                folder=folder,
                env=server_environment(os.environ, folder=folder, port=port, caller=self._caller),
                pass_fds=(listener.fileno(),),
            )
        return child, f"http://127.0.0.1:{port}"

    def _spawn_bedrock_fake(self, folder: Path, emulator: str) -> ChildProcess:
        """Start the Bedrock fake, which uses S3 and EventBridge of the emulator."""
        options = self._options
        values = {
            "--aws-endpoint": emulator,
            "--mean-latency-ms": options.mean_latency_ms,
            "--embedding-latency-ms": options.embedding_latency_ms,
            "--requests-per-minute": options.requests_per_minute,
            "--malformed-rate": options.malformed_rate,
            "--job-seconds": options.job_seconds,
            "--deployment-seconds": options.deployment_seconds,
            "--seed": options.seed,
            "--calls-file": folder / BEDROCK_CALLS if options.record_calls else "",
        }
        return self._spawn_fake("bedrock-fake", BEDROCK_FAKE, values, folder)

    def _spawn_vectors_fake(self, folder: Path) -> ChildProcess:
        """Start the S3 Vectors fake, whose vectors are in the stack's folder."""
        vectors = folder / "vectors"
        vectors.mkdir()
        options = self._options
        values = {
            "--query-latency-ms": options.query_latency_ms,
            "--seed": options.seed,
            "--folder": vectors,
            "--calls-file": folder / S3_VECTORS_CALLS if options.record_calls else "",
        }
        return self._spawn_fake("s3-vectors-fake", S3_VECTORS_FAKE, values, folder)

    def _spawn_fake(
        self, name: str, module: str, values: Mapping[str, object], folder: Path
    ) -> ChildProcess:
        arguments = [text for option, value in values.items() for text in (option, str(value))]
        # One thread multiplies vectors: several would wait for each other beside the handlers.
        environment = scrub(os.environ, home=folder) | self._caller | {"OPENBLAS_NUM_THREADS": "1"}
        return self._spawn(name, [module, *arguments], folder=folder, env=environment)

    def _spawn(
        self,
        name: str,
        module: list[str],
        *,
        folder: Path,
        env: Mapping[str, str],
        pass_fds: tuple[int, ...] = (),
    ) -> ChildProcess:
        child = ChildProcess(
            name,
            [sys.executable, "-m", *module],
            folder=folder,
            env=env,
            cwd=PROJECT,
            pass_fds=pass_fds,
        )
        self._cleanup.callback(child.stop)
        self._children.append(child)
        return child

    def _build_layers(self, folder: Path) -> dict[str, LayerArchive]:
        cache = user_cache_folder(os.environ)
        return {
            name: build_layer(source, snapshot=folder / "layers" / name, cache=cache)
            for name, source in self._template.code_folders(LAYER).items()
        }


def _emulator_settings(
    layers: Iterable[LayerArchive], endpoints: Mapping[str, str], authorizations: Path | None
) -> dict[str, object]:
    """Return the configuration of `ministack_server`."""
    return {
        "authorizations": str(authorizations) if authorizations else None,
        "layers": {layer.sha256: [str(path) for path in layer.folders] for layer in layers},
        "environment": {f"AWS_ENDPOINT_URL_{name}": url for name, url in endpoints.items()},
    }


def _url(fake: ChildProcess) -> str:
    """Return the endpoint of a fake once it is ready."""
    return str(fake.first_line(timeout_seconds=_START_SECONDS)["url"])


def _wait_until_healthy(emulator: ChildProcess, endpoint: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not answers(endpoint):
        emulator.require_alive()
        if time.monotonic() > deadline:
            raise LocalStackError(
                f"ministack did not answer in {_START_SECONDS:.0f} s:\n{emulator.log_tail()}"
            )
        time.sleep(_POLL_SECONDS)


def _exit_by_signal(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _signals_raising() -> contextlib.AbstractContextManager[None]:
    """Turn signals into SystemExit during the block."""
    return _signal_handlers(_exit_by_signal, signal.SIGTERM, signal.SIGHUP)


def _signals_ignored() -> contextlib.AbstractContextManager[None]:
    return _signal_handlers(signal.SIG_IGN, *_ENDING_SIGNALS)


@contextlib.contextmanager
def _signal_handlers(
    handler: Callable[[int, FrameType | None], Any] | signal.Handlers, *numbers: signal.Signals
) -> Iterator[None]:
    """Set a signal handler during the block, in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Ignored signals stay ignored (`nohup`).
    chosen = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, handler) for number in chosen}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
