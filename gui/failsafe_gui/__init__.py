"""The desktop monitor of failsafe: a package of its own that uses only failsafe's public names."""
