"""
Says which system libraries Qt misses on this machine, with their Debian packages.

Says nothing where PySide6 is not installed: then nothing here needs Qt.
"""

from __future__ import annotations

import ctypes
import sys
from importlib.util import find_spec

DEBIAN_PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libz.so.1": "zlib1g",
    "libzstd.so.1": "libzstd1",
}
"""What QtCore, QtGui and QtWidgets of PySide6 6.11 are linked against beyond the C and C++ libraries."""


def missing() -> list[str]:
    """The names of the libraries that the dynamic linker does not find."""
    return [name for name in DEBIAN_PACKAGES if not _loads(name)]


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def main() -> int:
    """Name what is missing; 1 if anything is."""
    if not sys.platform.startswith("linux") or find_spec("PySide6") is None:
        return 0
    lacking = missing()
    for name in lacking:
        print(f"error: Qt needs {name}", file=sys.stderr)
    if lacking:
        packages = " ".join(DEBIAN_PACKAGES[name] for name in lacking)
        print(f"On Debian and Ubuntu: apt-get install {packages}", file=sys.stderr)
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
