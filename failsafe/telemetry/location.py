"""Where the store lies."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from failsafe import checks
from failsafe.monitoring_config import StoreConfig

OFF = frozenset({"off", "0", "no", "none", "false"})
"""Values of ``FAILSAFE_STORE`` that turn the store off."""

_NETWORK_FILE_SYSTEMS = frozenset(
    {
        "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs",
        "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs",
    }
)  # fmt: skip
"""Processes on different machines would not share the memory that keeps WAL consistent (sqlite.org/wal.html)."""

_MOUNTS = Path("/proc/self/mountinfo")


class Location(NamedTuple):
    """Where the store lies, and who has said so: ``setting``, ``FAILSAFE_STORE`` or ``default``; no path: it is off."""

    path: Path | None
    origin: str


def locate(config: StoreConfig, environ: Mapping[str, str] | None = None) -> Path | None:
    """
    The store's file, or None if nothing is recorded.

    Raises:
        ConfigError: The path is not absolute; it would depend on the current folder.
    """
    return explain(config, environ).path


def explain(config: StoreConfig, environ: Mapping[str, str] | None = None) -> Location:
    """As :func:`locate`, and who has said so: a path in the settings, then the variable, then the usual place."""
    if not config.enabled:
        return Location(None, "setting")
    if config.path is not None:
        return Location(_absolute("store.path", config.path), "setting")
    named = (os.environ if environ is None else environ).get("FAILSAFE_STORE", "").strip()
    if named.lower() in OFF:
        return Location(None, "FAILSAFE_STORE")
    if named:
        return Location(_absolute("FAILSAFE_STORE", named), "FAILSAFE_STORE")
    from platformdirs import user_state_path

    usual = user_state_path("failsafe", appauthor=False) / "store.db"
    return Location(usual if usual.is_absolute() else None, "default")


def _absolute(key: str, value: str) -> Path:
    try:
        path = Path(value).expanduser()
    except RuntimeError:  # ~USER of nobody
        path = Path()
    if not path.is_absolute() or "\0" in value:
        checks.refuse(key, value, "an absolute path, or off, is needed")
    return path


def network_file_system(path: Path) -> str | None:
    """The kind of network file system that *path* lies on, or None; always None where Linux's table is missing."""
    try:
        table = _MOUNTS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    folder = os.path.realpath(path)
    found = ("", "")
    for line in table.splitlines():
        mount, _, rest = line.partition(" - ")
        fields, kind = mount.split(" "), rest.partition(" ")[0]
        point = fields[4].encode().decode("unicode_escape", "replace") if len(fields) > 4 else ""
        below = folder == point or folder.startswith(point.rstrip("/") + "/")
        if point and below and len(point) >= len(found[0]):
            found = (point, kind)
    return found[1] if found[1] in _NETWORK_FILE_SYSTEMS else None
