"""``python -m failsafe.cli`` is ``failsafe``."""

from failsafe.cli import main

main()
