"""
Explains failures in words, and says what to do: what ``failsafe doctor`` is made of.

Facts are gathered by modules that look (``network_look``, ``answer_look``, ``machine_look``, ``store_look``); each
step they take is bounded. What the facts mean is said by pure functions in the other modules, which take facts and
give findings. ``examination`` brings both together.
"""
