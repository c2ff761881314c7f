"""Odd environments: few open files, no home, other languages, odd paths, wrong clocks."""

import time

from benchmarks.torture import hooks
from benchmarks.torture.episode import Episode
from benchmarks.torture.faults import fault
from benchmarks.torture.faults.kills import kill, strike_at_request

DAY_S = 86_400.0
ODD = (
    "with spaces  and more",
    "äpfel und 梨 🍐",
    'it\'s "quoted" `so`',
    "line\nbreak",
    "tab\there",
    "100% #1 ?a=b&c",
    "semi;colon,comma",
    "[brackets] {braces} (round)",
    "$HOME ~ *",
    "-dash",
    "back\\slash",
    "e\u0301 decomposed",
    "\u202eright-to-left",
    "long" * 55,
    "/".join(["deep" * 12] * 6),
)
NO_LOCALE = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@fault("odd: ulimit -n 64", weight=3)
def few_files(e: Episode) -> None:
    """Allow so few open files that not every connection gets one."""
    files = e.rng.choice([64, 64, 48])
    sets = {"llm.concurrency": e.rng.choice([8, 32, 64])}
    e.run(0, 2, 4, wrap=["sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"], sets=sets)
    e.finish()


@fault("odd: no HOME", weight=2)
def no_home(e: Episode) -> None:
    """Run without a home, or with one that does not exist."""
    home = e.rng.choice([None, "", "/no/such/home"])
    e.run(0, env={"HOME": home, "XDG_CACHE_HOME": None, "USER": None})
    e.finish()


@fault("odd: LANG=C", weight=2)
def no_locale(e: Episode) -> None:
    """Run where Python writes only ASCII, with other characters in texts and folders."""
    e.out = e.folder / "äpfel 梨"
    e.end(strike_at_request(e, kill), 0)
    e.run(0, env=NO_LOCALE)
    e.finish()


@fault("odd: path", weight=6)
def odd_path(e: Episode) -> None:
    """Run in a folder with an odd name, kill, and resume."""
    e.out = e.folder / e.rng.choice(ODD)
    if e.rng.random() < 0.5:
        e.sets["llm.store"] = f'"{e.folder / "store äö.sqlite"}"'
    e.end(strike_at_request(e, kill), 0)
    e.finish()


@fault("odd: invalid path")
def invalid_path(e: Episode) -> None:
    """Run in a folder whose name is no valid text, or is too long for the disk or for SQLite."""
    names = [b"caf\xe9", b"x" * 300, b"/".join([b"deep" * 12] * 12)]
    name = e.rng.choice(names).decode("utf-8", "surrogateescape")
    code = e.run(0, 2, out=e.folder / name)
    if code == 0:
        e.out = e.folder / name
    e.finish()


@fault("odd: no TMPDIR")
def no_temporary_folder(e: Episode) -> None:
    """Run without the folder for temporary files."""
    e.run(0, 2, env={"TMPDIR": "/no/such/folder"})
    e.finish()


@fault("odd: closed streams")
def closed_streams(e: Episode) -> None:
    """Run with stdout or stderr closed, full or unread."""
    how = e.rng.choice([">&-", "2>&-", ">&- 2>&-", "> /dev/full", "2> /dev/full", "| true"])
    e.run(0, 2, wrap=["sh", "-c", f'"$@" {how}', "sh"])
    e.finish()


@fault("odd: clock back", weight=3)
def clock_back(e: Episode) -> None:
    """Kill, set the clock back, and resume."""
    e.end(strike_at_request(e, kill), 0)
    e.run(0, orders=[hooks.clock(-e.rng.choice([60.0, DAY_S, 400 * DAY_S]))])
    e.finish()


@fault("odd: clock jumps", weight=3)
def clock_jumps(e: Episode) -> None:
    """Set the clock back or forward while the run goes on."""
    by_s = e.rng.choice([-DAY_S, -3600.0, DAY_S, 400 * DAY_S])
    e.run(0, orders=[hooks.clock(by_s, e.rng.randrange(300))])
    e.finish()


@fault("odd: clock back, one store")
def clock_back_together(e: Episode) -> None:
    """Run two processes on one store, one with its clock a day behind.

    Each takes the other for dead, and may repeat its requests in flight.
    """
    e.sets["llm.store"] = e.folder / "shared.sqlite"
    e.ledger.latency_s = 0.05
    outs = [e.folder / "today", e.folder / "yesterday"]
    orders = [[], [hooks.clock(-DAY_S)]]
    children = []
    for out, order in zip(outs, orders, strict=True):
        children.append(e.start(out=out, orders=order))
        time.sleep(e.rng.uniform(0, 1))
    for child in children:
        e.end(child, 0)
    e.lose(3600.0)
    e.out = outs[0]
    e.finish()
    e.check(*outs)
