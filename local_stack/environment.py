"""What a child process of the local stack may see: an environment built from nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# Who calls the emulator: its own root, with words that open nothing anywhere else.
CALLER = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}

# Only what a process needs to find programs. Locale, time zone, home and temp folder are set anew.
_KEPT = ("PATH", "SYSTEMROOT")


def scrub(environ: Mapping[str, str], *, home: Path) -> dict[str, str]:
    """Return the environment of a child that must not reach anything outside this machine.

    `home` becomes HOME and TMPDIR, so no profile, shared configuration or credential file is found;
    no variable of `environ` passes unless it is known to be harmless. Locale and time zone are
    those of Lambda.
    """
    kept = {name: environ[name] for name in _KEPT if name in environ}
    return kept | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        # macOS takes proxies from the system settings when the environment names none.
        "NO_PROXY": "*",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
