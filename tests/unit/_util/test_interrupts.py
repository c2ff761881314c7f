"""Ctrl-C is raised, whenever it comes: where Python would lose it, a moment later."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from stepsynth._util.interrupts import holding_ctrl_c

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there Ctrl-C is no signal")

BUSY = """
import time
print("busy", flush=True)
ends = time.monotonic() + {seconds}
while time.monotonic() < ends:
    pass
"""


def run(code, folder, *, times=1, wait_s=0.0):
    """Return what a script printed that was sent Ctrl-C each time that it was `busy`."""
    script = folder / "script.py"
    begin = "import signal\nfrom stepsynth._util.interrupts import interrupt_on\n"
    script.write_text(begin + textwrap.dedent(code))
    process = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout.readline() == "busy\n"
    for _ in range(times):
        time.sleep(wait_s)
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return out.split(), err


def test_what_comes_while_a_module_is_imported_is_raised_after_it(tmp_path):
    busy = textwrap.indent(BUSY.format(seconds=1), "    ")
    (tmp_path / "greedy.py").write_text(f"try:\n{busy}\nexcept BaseException:\n    pass\n")
    code = """
    interrupt_on(signal.SIGINT)
    import time
    try:
        import greedy
        print("imported")
        time.sleep(30)
    except KeyboardInterrupt:
        print("stopped")
    """
    assert run(code, tmp_path) == (["imported", "stopped"], "")


def test_a_second_one_does_not_wait_for_the_import(tmp_path):
    (tmp_path / "slow.py").write_text(BUSY.format(seconds=30))
    code = """
    interrupt_on(signal.SIGINT)
    import time
    try:
        import slow
    except KeyboardInterrupt:
        time.sleep(0.3)  # cleaning up, which the first one must not interrupt any more
        print("stopped")
    """
    began = time.monotonic()
    assert run(code, tmp_path, times=2, wait_s=0.2) == (["stopped"], "")
    assert time.monotonic() - began < 20


def test_what_comes_in_a_destructor_is_raised_after_it(tmp_path):
    busy = textwrap.indent(BUSY.format(seconds=1), " " * 12)
    code = f"""
    interrupt_on(signal.SIGINT)
    class Slow:
        def __del__(self):
{busy}
    import time
    try:
        Slow()
        print("gone")
        time.sleep(30)
    except KeyboardInterrupt:
        print("stopped")
    """
    out, err = run(code, tmp_path)
    assert out[-1] == "stopped"
    assert err == ""


def test_what_is_ignored_stays_so(tmp_path):
    code = f"""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupt_on(signal.SIGINT)
    {BUSY.format(seconds=0.5).replace(chr(10), chr(10) + "    ")}
    print("done")
    """
    assert run(code, tmp_path) == (["done"], "")


def test_it_is_held_back_while_a_process_is_started():
    masked = []

    def start():
        with holding_ctrl_c():
            os.kill(os.getpid(), signal.SIGINT)
            command = [sys.executable, "-c", "import signal; print(signal.pthread_sigmask(0, []))"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            masked.append("SIGINT" in done.stdout)

    with pytest.raises(KeyboardInterrupt):
        start()
    assert masked == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
