"""Speed of the student `linear` and of the command line: `python -m benchmarks.speed`."""

import random
import subprocess
import sys

from benchmarks.measure import seconds

ROWS = 2000


def made_texts(number: int, *, words: int) -> list[str]:
    """Return texts of so many words of a vocabulary of 5,000."""
    rng = random.Random(0)
    known = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(5000)]
    return [" ".join(rng.choices(known, k=words)) for _ in range(number)]


def fit_and_predict() -> tuple[float, float]:
    """Return the seconds to fit `linear` on 2,000 made-up texts and to predict as many."""
    from stepsynth.records import Dataset, Example
    from stepsynth.students import StudentFactory
    from stepsynth.students.linear import Linear

    data = Dataset(Example(text, "ab"[i % 2]) for i, text in enumerate(made_texts(ROWS, words=100)))
    model = StudentFactory(Linear(), ("a", "b"), 0).new()
    return seconds(lambda: model.fit(data)), seconds(lambda: model.predict(data))


def main() -> None:
    """Measure and print."""
    fit, predict = fit_and_predict()
    python = seconds(lambda: subprocess.run([sys.executable, "-c", ""], check=True))
    command = [sys.executable, "-m", "stepsynth", "--help"]
    help_ = seconds(lambda: subprocess.run(command, check=True, capture_output=True))
    print(f"linear on {ROWS} texts of 100 words:")
    print(f"  fit                                 {fit:6.2f} s   {ROWS / fit:,.0f} rows/s")
    print(f"  predict                             {predict:6.2f} s   {ROWS / predict:,.0f} rows/s")
    print(f"stepsynth --help {help_:.2f} s, {help_ / python:.1f} x an empty Python")


if __name__ == "__main__":
    main()
