"""Rarer garbage collection, for a process that is ours alone."""

import gc


def collect_rarely() -> None:
    """Make Python collect cyclic garbage less often.

    A run makes millions of short-lived objects, hardly any of them in cycles; collection took up to
    a tenth of its time. A library must not do this to its caller's process.
    """
    gc.set_threshold(10_000)
