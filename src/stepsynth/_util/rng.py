"""Named streams of randomness from one `random_seed`."""

import random

from stepsynth._util.hashing import digest


def make_rng(random_seed: int, *names: object) -> random.Random:
    """Return a generator that depends on the seed and on the names, and on nothing else.

    Two consumers with different names never disturb each other, so adding a draw in one place
    changes no result in another.
    """
    return random.Random(int(digest([random_seed, *map(str, names)]), 16))
