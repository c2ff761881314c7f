"""The lowest version of each package that the core needs, printed as constraints for pip."""

import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest() -> list[str]:
    """Return "name==version" for each dependency, from its lower bound."""
    needs = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    return [need.replace(">=", "==") for need in needs]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lowest()) + "\n")
