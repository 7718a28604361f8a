"""Who called what: a file with each distinct call once, told by the key that signed it."""

import json
import re
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local_stack.bedrock_double.routes import bedrock_router

_ACCESS_KEY = re.compile(r"Credential=([^/]+)/")
_INFERENCE = frozenset({"Converse", "InvokeModel"})  # whose bodies hold what users typed


class CallRecorder:
    """Appends one JSON line for each distinct call: `access_key`, `operation`, `parameters`.

    Parameters are names and ARNs only; of lists and structures no more than that they are there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._router = bedrock_router()
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def record(self, authorization: str, method: str, target: str, body: bytes) -> None:
        """Note one request; what is no operation of Bedrock is not noted."""
        found = self._router.find(method, urlsplit(target).path)
        if found is None:
            return
        operation, labels = found
        content = {} if operation.name in _INFERENCE else json.loads(body or b"{}")
        signed = _ACCESS_KEY.search(authorization)
        call = {
            "access_key": signed[1] if signed else "",
            "operation": operation.name,
            "parameters": dict(labels) | {key: _outline(value) for key, value in content.items()},
        }
        line = json.dumps(call, sort_keys=True) + "\n"
        with self._lock:
            if line not in self._seen:
                self._seen.add(line)
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(line)


def _outline(value: Any) -> str:
    return value if isinstance(value, str) else "..."
