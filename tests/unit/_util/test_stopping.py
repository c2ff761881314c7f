"""Calls in a thread: their result comes back, and cancelling stops them cleanly."""

import asyncio
import threading
from concurrent.futures import Future

import pytest

from stepsynth._util.stopping import call_in_thread, check_stop, result_of


async def test_the_result_or_the_error_of_a_call_comes_back():
    assert await call_in_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await call_in_thread(lambda: 1 // 0)


async def test_the_loop_goes_on_while_a_call_works():
    go_on = threading.Event()
    call = asyncio.create_task(call_in_thread(lambda: go_on.wait(10)))
    await asyncio.sleep(0)
    assert not call.done()
    go_on.set()
    assert await call


@pytest.mark.parametrize("how", ["check", "wait"])
async def test_a_cancelled_call_is_interrupted_and_waited_for(how):
    began, ended = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        try:
            if how == "wait":
                result_of(Future())
            while True:
                check_stop()
        except KeyboardInterrupt:
            ended.set()
            raise

    call = asyncio.create_task(call_in_thread(work))
    await asyncio.to_thread(began.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await call
    assert ended.is_set()
    assert isinstance(caught.value.__cause__, KeyboardInterrupt)


def test_elsewhere_nothing_is_stopped():
    check_stop()
    future: Future[int] = Future()
    future.set_result(3)
    assert result_of(future) == 3
