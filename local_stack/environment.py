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

# What pip may need to reach a package index; pip never gets an AWS variable.
_REFUSED_BY_INSTALLER = ("AWS_", "PYTHON", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")


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


def installer_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for pip: the user's own (index, proxy, certificates) without AWS."""
    kept = {
        name: value for name, value in environ.items() if not name.startswith(_REFUSED_BY_INSTALLER)
    }
    # A user's `pip.conf` may say `user = true`, which pip refuses together with `--target`.
    return kept | {"PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
