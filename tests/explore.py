"""How many examples a property is tried on: few in the suite, many by `make explore`."""

from hypothesis import settings


def many(examples: int) -> settings:
    """Return settings that try so many examples where new ones are looked for."""
    is_exploring = settings.get_current_profile_name() == "explore"
    return settings(max_examples=examples) if is_exploring else settings()
