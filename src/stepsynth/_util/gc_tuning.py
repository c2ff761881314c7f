"""How often Python looks for garbage, in a process that is ours alone."""

import gc


def collect_rarely() -> None:
    """Have Python look for cycles of objects less often than it does by itself.

    A run makes millions of objects that die young, hardly any of them in cycles; to look through
    them took up to a tenth of its time. A library must not do this to its caller's process.
    """
    gc.set_threshold(10_000)
