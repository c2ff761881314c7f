"""Errors: what another process raises is what is told here."""

import pickle

import pytest

import stepsynth.api
import stepsynth.cli.main
from stepsynth.errors import LimitReachedError, StepsynthError, UnknownNameError
from stepsynth.llm.core.errors import GiveUpError, RetryLaterError

assert stepsynth.api
assert stepsynth.cli.main  # all modules that define errors are loaded

OWN = {
    UnknownNameError: lambda: UnknownNameError("method", "s4", ["s3", "gold"]),
    LimitReachedError: lambda: LimitReachedError("spent", hint="raise it", cap="limits.usd"),
    RetryLaterError: lambda: RetryLaterError("rate_limit", "slow down", retry_after_s=3.0),
    GiveUpError: lambda: GiveUpError("refused", "no", raw="<html>", hint="ask another"),
}


def kinds(kind=StepsynthError):
    return [kind, *(each for sub in kind.__subclasses__() for each in kinds(sub))]


@pytest.mark.parametrize("kind", kinds())
def test_an_error_of_another_process_is_the_same(kind):
    made = OWN.get(kind, lambda: kind("it is wrong", hint="mend it"))().at("task.yaml")
    back = pickle.loads(pickle.dumps(made))  # noqa: S301
    assert type(back) is kind
    assert (str(back), back.args, vars(back)) == (str(made), made.args, vars(made))
    assert back.exit_code == made.exit_code
