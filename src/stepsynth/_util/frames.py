"""Data frames, where pandas is installed."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from stepsynth.errors import StepsynthError

if TYPE_CHECKING:
    import pandas


def to_frame(rows: Iterable[Mapping[str, Any]]) -> "pandas.DataFrame":
    """Return rows as a data frame.

    Raises:
        StepsynthError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise StepsynthError("pandas is not installed", hint="pip install pandas") from error
    return pandas.DataFrame(list(rows))
