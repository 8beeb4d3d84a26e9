"""The command ``failsafe-monitor``."""

from __future__ import annotations

import sys

from failsafe import __version__


def main() -> int:
    """Say in one line that this version has no window; the exit code is 1."""
    sys.stderr.write(
        f"failsafe-monitor: the monitor's window is not part of failsafe-llm {__version__}; "
        "`failsafe demo` shows breakers and providers in the terminal\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
