"""How fast requests are sent: against simulated servers that are full, slow, limited or down."""

import asyncio
import math
import random
import re
from collections import Counter
from itertools import pairwise

import pytest

from stepsynth.errors import ProviderError
from stepsynth.llm import Completion, Request
from stepsynth.llm.backends.openai_compatible import OpenAICompatible
from stepsynth.llm.core.errors import RetryLaterError
from stepsynth.llm.core.rate_headers import RateLimits
from stepsynth.llm.pacing.pace import IN_A_ROW, Pace
from tests.fake_clock import Run, Server, Sharing, break_down, refuse, use_fake_clock

AT_ONCE = 128


@pytest.fixture
def clock(monkeypatch):
    # As in use, and the same each time.
    monkeypatch.setattr("stepsynth.llm.engine.send.BACK_OFF_S", 0.5)
    monkeypatch.setattr("stepsynth.llm.engine.send.random", random.Random(0))
    return use_fake_clock(monkeypatch)


def at_random(share, error=refuse):
    return lambda rng, _now: error() if rng.random() < share else None


def between(start, end, error):
    """Return a fault for the seconds between start and end of a run."""
    began: list[float] = []

    def fault(_rng, now):
        began.append(now)
        return error() if start <= now - began[0] < end else None

    return fault


def lognormal(rng, _request):
    return math.exp(rng.gauss(0, 0.5))


def most_in_a_minute(times, weights=None):
    """Return the most that was sent in any 60 s, of things with a weight, and when it began."""
    weights = weights or [1] * len(times)
    most, total, first = 0, 0, 0
    for time, weight in zip(times, weights, strict=True):
        total += weight
        while time - times[first] >= 60:
            total -= weights[first]
            first += 1
        most = max(most, total)
    return most


@pytest.mark.parametrize("retry_after_s", [None, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_full_server_is_served_without_loss_or_stalling(clock, seed, retry_after_s):
    server = Server(clock, places=64, retry_after_s=retry_after_s, seed=seed, concurrency=AT_ONCE)
    run = Run(server, 2000)
    ideal_s = 2000 / 64 * 0.2
    assert run.lost == 0
    assert run.took_s < 1.3 * ideal_s
    assert run.attempts < 1.5


@pytest.mark.parametrize("at_once", [8, 400])
def test_it_finds_out_how_many_places_there_are(clock, at_once):
    places = at_once // 2
    run = Run(Server(clock, lognormal, places=places, concurrency=at_once), 20 * at_once)
    settled = run.allowed[len(run.allowed) // 2 :]
    assert run.lost == 0
    assert 0.8 * places < sum(settled) / len(settled) < 1.4 * places


def test_a_server_with_a_queue_gets_all_that_is_allowed(clock):
    run = Run(Server(clock, places=64, queues=True, concurrency=AT_ONCE), 2000)
    assert (min(run.allowed), run.attempts, run.lost) == (AT_ONCE, 1.0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_random_refusals_are_no_overload(clock, seed):
    run = Run(Server(clock, fault=at_random(0.05), seed=seed, concurrency=AT_ONCE), 10_000)
    ideal_s = 10_000 / AT_ONCE * 0.2
    assert (min(run.allowed), run.lost) == (AT_ONCE, 0)
    assert run.took_s < 1.1 * ideal_s


@pytest.mark.parametrize("share", [0.1, 0.3])
@pytest.mark.parametrize("at_once", [8, AT_ONCE])
def test_many_random_refusals_are_put_up_with(clock, share, at_once):
    run = Run(Server(clock, fault=at_random(share), concurrency=at_once), 40 * at_once)
    assert run.lost == 0
    assert sum(run.allowed) / len(run.allowed) > 0.8 * at_once
    # An attempt that is refused takes the place of an answer: so much longer, and the last ones.
    assert run.took_s < 40 * 0.2 / (1 - share) + 5


def test_places_that_stay_empty_prove_nothing(clock):
    """Most of a short run waits for what it was asked to wait: fewer places are not missed."""
    fault = at_random(0.3, lambda: refuse(1.0))
    run = Run(Server(clock, 0.05, fault=fault, concurrency=AT_ONCE), 2000)
    assert run.lost == 0
    assert sum(run.allowed) / len(run.allowed) > 0.8 * AT_ONCE


def test_retry_after_is_obeyed_by_one_request_and_stalls_no_other(clock):
    class Remembering(Server):
        async def complete(self, request: Request) -> Completion:
            asked.setdefault(request.draw, []).append(clock.now)
            return await super().complete(request)

    asked: dict[int, list[float]] = {}
    server = Remembering(
        clock, fault=at_random(0.02, lambda: refuse(20.0)), concurrency=4, max_attempts=50
    )
    run = Run(server, 2000)
    assert run.lost == 0
    waits = [b - a for times in asked.values() for a, b in pairwise(times)]
    assert waits
    assert 20.0 <= min(waits) <= max(waits) < 21.0
    assert run.took_s < 2000 / 4 * 0.2 * 1.1 + 3 * 20


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("at_once", [8, AT_ONCE])
def test_answers_that_take_now_long_now_short_are_no_overload(clock, seed, at_once):
    run = Run(Server(clock, lognormal, seed=seed, concurrency=at_once), 40 * at_once)
    assert (min(run.allowed), run.attempts) == (at_once, 1.0)


def test_another_kind_of_prompt_that_takes_longer_is_no_overload(clock):
    slow = Server(clock, lambda _, r: 0.2 if r.draw < 2000 else 1.0, concurrency=AT_ONCE)
    run = Run(slow, 4000)
    assert run.allowed[-1] == AT_ONCE
    assert run.took_s < 1.15 * (2000 / AT_ONCE * 0.2 + 2000 / AT_ONCE * 1.0)
    phases = Run(
        Server(clock, lambda _, r: 0.2 + 0.8 * (r.stream == "s1"), concurrency=64), 2000, phases=2
    )
    assert min(phases.allowed) == 64


def test_fewer_are_sent_to_a_server_that_slows_down_under_them(clock):
    class Slowing(Sharing):
        full_speed = AT_ONCE

        async def work(self, request: Request) -> Completion:
            self.full_speed = AT_ONCE if request.draw < 2000 else AT_ONCE // 5
            return await super().work(request)

    run = Run(Slowing(clock, concurrency=AT_ONCE), 5000)
    assert min(run.allowed) <= AT_ONCE // 2
    assert run.took_s < 1.1 * (2000 / AT_ONCE * 0.2 + 3000 / (AT_ONCE // 5) * 0.2)


def test_a_limit_a_minute_that_nobody_told_is_found(clock):
    left, filled = 10.0, clock.now

    def fault(_rng, now):
        nonlocal left, filled
        left, filled = min(10.0, left + (now - filled) * 10), now
        if left < 1:
            return refuse()
        left -= 1
        return None

    run = Run(Server(clock, fault=fault, concurrency=AT_ONCE), 3000)
    assert run.lost == 0
    assert run.took_s < 1.2 * 300
    assert run.attempts < 2


@pytest.mark.parametrize("error", [break_down, refuse])
def test_an_outage_of_a_minute_is_waited_out(clock, error):
    fault = between(5, 65, error)
    run = Run(Server(clock, fault=fault, concurrency=AT_ONCE, max_attempts=2), 6000)
    assert run.lost == 0
    assert run.took_s < 6000 / AT_ONCE * 0.2 + 60 + 5
    in_outage = len(run.server.sent) - 6000
    assert in_outage <= IN_A_ROW + AT_ONCE + 7  # probes after 1, 2, 4, 8, 16, 30 s
    assert len(run.notices) == 2
    assert run.notices[0].startswith("the provider does not answer: ")
    assert run.notices[0].endswith("for 120 s (llm.patience_s) before the run stops")
    assert run.notices[1] == "the provider answers again"
    # What is waited for is counted down.
    said = [re.search(r"for (\d+) s; next try in (\d+) s$", note) for note in run.notes]
    counted = [(int(each[1]), int(each[2])) for each in said if each]
    assert {since for since, _ in counted} >= set(range(1, 60))
    assert {wait for _, wait in counted} == set(range(31))


def loading():
    return RetryLaterError("server_error", "503 Loading model", is_unavailable=True)


def gone():
    return RetryLaterError("unreachable", "no route", is_unreachable=True)


@pytest.mark.parametrize(("start", "error"), [(3, gone), (3, loading), (0, loading)])
@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_a_server_that_is_restarted_or_loads_its_model_costs_no_request(
    clock, at_once, start, error
):
    fault = between(start, start + 60, error)
    run = Run(Server(clock, 1.0, fault=fault, concurrency=at_once), 4 * at_once)
    assert (run.lost, run.error) == (0, None)
    assert run.took_s < start + 60 + 31 + 8
    assert [notice.partition(":")[0] for notice in run.notices] == [
        "the provider does not answer",
        "the provider answers again",
    ]


def test_a_server_that_goes_and_comes_is_told_of_once_a_minute(clock):
    fault = lambda _rng, now: gone() if 4 < now % 20 < 16 else None  # noqa: E731
    run = Run(Server(clock, 0.5, fault=fault, concurrency=2), 200)
    assert run.lost == 0
    assert 2 <= len(run.notices) <= 2 * (run.took_s / 60 + 1)
    assert sum("does not answer" in note for note in run.notes) > 10 * run.took_s / 3


def test_a_request_that_no_server_can_answer_is_given_up_and_is_no_outage(clock):
    server = Server(clock, 1.0, concurrency=1)
    server.fault = lambda _rng, _now: break_down() if len(server.answered) >= 3 else None
    run = Run(server, 4)
    assert (run.lost, run.error, run.notices) == (1, None, [])


class Hasty(Server):
    """A server whose answers are waited for no longer than `timeout_s`."""

    async def work(self, request: Request) -> Completion:
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                return await super().work(request)
        except TimeoutError:
            raise RetryLaterError("timeout", "no answer in time") from None


def test_a_time_out_that_no_answer_fits_into_is_named_early_and_once(clock):
    run = Run(Hasty(clock, 20.0, concurrency=2, timeout_s=5), 3)
    assert run.lost == 3
    assert run.notices == [
        "no answer came within llm.timeout_s (5 s) yet; the server takes requests but is slow, or "
        "hangs: raise llm.timeout_s, or lower llm.concurrency (2); a request that times out is "
        "asked, and may be paid for, again"
    ]
    assert run.answers[0].hint.startswith("the server takes requests but is slow")
    first = next(i for i, note in enumerate(run.notes) if "raise it" in note)
    assert 50 <= first <= 52  # tenths of a second: the first that timed out
    assert run.notes[first:] == ["no answer came within llm.timeout_s (5 s) yet: raise it"] * len(
        run.notes[first:]
    )


def test_a_time_out_that_only_some_answers_fit_into_is_named_with_how_many(clock):
    server = Hasty(clock, lambda rng, _: rng.choice([12, 28, 40]), concurrency=4, timeout_s=30)
    run = Run(server, 40)
    (notice,) = run.notices
    assert re.match(
        r"\d+ of \d+ requests took longer than llm.timeout_s \(30 s\), answers take up to \d+ s; "
        r"raise llm.timeout_s, or lower llm.concurrency \(4\);",
        notice,
    )
    assert any(re.fullmatch(r"\d+ of \d+ requests took .*: raise it", note) for note in run.notes)
    assert max(map(len, run.notes)) < 78  # it fits into a terminal


def test_a_time_out_that_the_first_answers_fit_into_is_named_once_others_come_near_it(clock):
    latencies = iter([3.0, 40.0, 3.0, 14.0, *[3.0] * 20])
    server = Hasty(clock, lambda *_: next(latencies), concurrency=1, timeout_s=20)
    run = Run(server, 6)
    (notice,) = run.notices
    assert notice.startswith("1 of 4 requests took longer than llm.timeout_s (20 s), answers take")


def test_a_provider_whose_answers_all_time_out_is_not_called_down(clock):
    run = Run(Hasty(clock, 20.0, concurrency=64, timeout_s=5, patience_s=60), 200)
    assert isinstance(run.error, ProviderError)
    assert "answered nothing for 60 s" in run.error.message
    assert "raise llm.timeout_s" in run.error.hint
    assert run.notes[-1] == "no answer came within llm.timeout_s (5 s) yet: raise it"


def test_a_hang_now_and_then_says_nothing_of_the_time_out(clock):
    def latency(rng, _request):
        return 1e6 if rng.random() < 0.02 else 1.0

    run = Run(Hasty(clock, latency, concurrency=4, timeout_s=30), 400)
    assert run.usage.setbacks["timeout"] > 3
    assert not any("timeout_s" in said for said in [*run.notices, *run.notes])


def test_the_time_left_is_near_the_truth_where_answers_are_slow(clock):
    server = Server(clock, lambda rng, _: rng.uniform(20, 60), concurrency=4)
    run = Run(server, 200)
    told = [(at, left) for at, left in run.left if left is not None]
    assert told[0][0] < 60
    assert all(at + left < 2 * run.took_s for at, left in told)
    assert all(at + left == pytest.approx(run.took_s, rel=0.3) for at, left in told[1000:])


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_the_time_left_does_not_jump_where_answers_come_in_waves(clock, spread):
    server = Server(clock, lambda rng, _: 40 * math.exp(rng.gauss(0, spread)), concurrency=64)
    run = Run(server, 1280)
    told = [(at, left) for at, left in run.left if left is not None]
    assert len(told) > 0.8 * len(run.left)
    assert all(0.6 * run.took_s < at + left < 2.1 * run.took_s for at, left in told)


def test_a_stall_is_said_and_no_time_is_foretold_meanwhile(clock):
    def latency(_rng, request):
        return 200.0 if 40 <= request.draw < 44 else 4.0

    run = Run(Server(clock, latency, concurrency=4, timeout_s=600), 200)
    quiet = [(note, left) for note, (_, left) in zip(run.notes, run.left, strict=True) if note]
    assert {note for note, _ in quiet} >= {f"no answer for {s} s" for s in (17, 60, 190)}
    assert {left for _, left in quiet} == {None}
    # The window has the stall for twenty more answers.
    after = [left for at, left in run.left if left and at > 300]
    assert max(after) < 200


def test_an_outage_ends_with_a_request_that_is_refused_but_not_with_one_that_is_taken_back():
    """Probes would go on, thirty seconds apart, at an endpoint that answers at once."""
    pace = Pace(OpenAICompatible(model="m", concurrency=64), lambda: 0.0)
    pace.in_flight = IN_A_ROW + 2
    for _ in range(IN_A_ROW):
        pace.failed(RetryLaterError("timeout", "late"))
    assert pace.is_down
    pace.left()
    assert pace.is_down
    pace.refused()
    assert not pace.is_down
    assert pace.in_flight == 0


def test_a_provider_that_stays_down_stops_the_run(clock):
    server = Server(clock, fault=between(3, 1e9, break_down), concurrency=64, patience_s=60)
    run = Run(server, 20_000)
    assert isinstance(run.error, ProviderError)
    assert "answered nothing for 60 s" in str(run.error)
    assert 60 < run.took_s - 3 < 60 + 31


def test_an_endpoint_that_was_never_reached_stops_the_run_at_once(clock):
    run = Run(Server(clock, fault=lambda *_: gone(), concurrency=64), 2000)
    assert isinstance(run.error, ProviderError)
    assert (run.took_s < 1, len(run.server.sent) <= 64) == (True, True)


def test_all_that_are_told_to_wait_wait_as_long(clock):
    server = Server(clock, fault=between(0, 50, lambda: refuse(20.0)), concurrency=64)
    run = Run(server, 1000)
    assert run.lost == 0
    assert 60 <= run.took_s < 65 + 1000 / 64 * 0.2
    assert len(server.sent) <= 1000 + 64 + 2  # one probe each 20 s


def test_a_server_with_long_answers_that_is_full_is_not_down(clock):
    server = Server(clock, latency=100.0, places=8, concurrency=64, patience_s=10, timeout_s=200)
    run = Run(server, 64)
    assert (run.error, run.lost) == (None, 0)
    assert run.took_s < 1.5 * 64 / 8 * 100


@pytest.mark.parametrize(("rpm", "minutes"), [(60, 4), (6000, 2)])
def test_requests_a_minute(clock, rpm, minutes):
    run = Run(Server(clock, lognormal, rpm=rpm, concurrency=AT_ONCE), minutes * rpm)
    assert run.attempts == 1.0
    assert most_in_a_minute(run.server.sent) <= rpm + 1
    assert run.took_s < minutes * 60 * 1.05 + 10


def test_requests_a_minute_after_a_pause_make_up_for_nothing(clock):
    server = Server(clock, rpm=600, concurrency=AT_ONCE)

    run = Run(server, 2000, phases=2, between=lambda: setattr(clock, "now", clock.now + 100))
    assert run.attempts == 1.0
    assert most_in_a_minute(server.sent) <= 601


@pytest.mark.parametrize(("longer", "minutes"), [(0.05, 2), (1, 4), (3.9, 4)])
def test_completion_tokens_a_minute_though_answers_are_longer_or_shorter_than_foreseen(
    clock, longer, minutes
):
    class Wordy(Server):
        async def work(self, request: Request) -> Completion:
            await super().work(request)
            written = round(256 * longer * self.rng.uniform(0.9, 1.0))
            weights.append(written)
            return Completion("x", prompt_tokens=10, completion_tokens=written)

    weights: list[int] = []
    server = Wordy(clock, 0.5, output_tpm=60_000, concurrency=64, max_tokens=1024)
    run = Run(server, round(minutes * 60_000 / (256 * longer)))
    off = 64 * 256 * max(0, longer - 1)  # what those were off that were in flight at first
    assert most_in_a_minute(server.answered, weights) <= 60_000 * 1.02 + off
    assert run.took_s < minutes * 60 * 1.05 + 5


def test_prompt_tokens_a_minute_though_a_character_is_a_token(clock):
    class Dense(Server):
        async def work(self, request: Request) -> Completion:
            await super().work(request)
            return Completion("x", prompt_tokens=100, completion_tokens=1)

    server = Dense(clock, 1.0, input_tpm=60_000, concurrency=64)
    run = Run(server, 2400, prompt="p" * 100)
    assert most_in_a_minute(server.sent) * 100 <= 60_000 * 1.01 + 64 * 75
    assert run.took_s < 240 * 1.05 + 5


def test_rate_limit_headers_are_waited_for(clock):
    class Telling(Server):
        """200 requests a minute, said by headers."""

        async def complete(self, request: Request) -> Completion:
            minute = clock.now // 60
            used[minute] += 1
            if used[minute] > 200:
                raise refuse()
            left, reset_s = 200 - used[minute], 60 * (minute + 1) - clock.now
            answer = await super().complete(request)
            self.on_rate_limits(RateLimits(left, reset_s))
            return answer

    used: Counter[float] = Counter()
    run = Run(Telling(clock, concurrency=32), 1000)
    assert run.lost == 0
    assert run.attempts < 1.2
    assert run.took_s < 5 * 60
    assert any("rate limit is used up" in note for note in run.notes)


def test_one_answer_wakes_one_of_those_who_wait(clock):
    woken = 0

    async def wait(pace: Pace) -> None:
        nonlocal woken
        await pace.enter(1)
        woken += 1

    async def go() -> list[int]:
        pace = Pace(Server(clock, concurrency=16).settings, clock.time)
        tasks = [asyncio.ensure_future(wait(pace)) for _ in range(4096)]
        await asyncio.sleep(0.1)
        seen = [woken]
        for _ in range(100):
            pace.answered(0.1)
            await asyncio.sleep(0.1)
            seen.append(woken)
        pace.stop()
        await asyncio.gather(*tasks)
        return seen

    loop = clock.new_loop()
    assert loop.run_until_complete(go()) == [16 + n for n in range(101)]
    loop.close()
