"""What every test has: the option --full, one thread, and a temporary folder."""

import logging
import math
import os
import signal
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from cdstats.engine import work

# The tests share the cores already: threads that wait for each other only take time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Screens are compared without colours, which some services ask for.
for _name in ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "CLICOLOR_FORCE"):
    os.environ.pop(_name, None)

# A shell lets what it starts in the background ignore Ctrl-C, and so every program that
# is started from there; some tests interrupt such a program.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is, and nothing of the program.
settings.register_profile(
    "full",
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("short", settings.get_profile("full"), max_examples=40)


@pytest.fixture(scope="session", autouse=True)
def no_unasked_workers() -> Iterator[None]:
    """Start workers only where a test asks for some, however slow a busy machine is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "WORTH_SECONDS", math.inf)
        yield


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the program leaves in temporary and cache folders apart."""
    folder = str(tmp_path_factory.mktemp("temporary"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", folder)
        patch.setitem(os.environ, "TMPDIR", folder)
        patch.setitem(os.environ, "XDG_CACHE_HOME", f"{folder}/cache")
        patch.setitem(os.environ, "XDG_CONFIG_HOME", f"{folder}/config")
        yield


@pytest.fixture
def blank_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let reports and plots hold blank figures, which cost most of their time."""
    from cdstats.render.figures import files
    from cdstats.report import html

    blank = b'<svg xmlns="http://www.w3.org/2000/svg"></svg>'
    for module in (html, files):
        monkeypatch.setattr(module, "figure_bytes", lambda *_: blank)


class _Keeper(logging.Handler):
    def __init__(self, kept: list[logging.LogRecord]) -> None:
        super().__init__()
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self._kept.append(record)


@pytest.fixture(autouse=True)
def only_foreseen_exceptions(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which a file ended in an exception that nobody foresaw.

    A test that causes one is marked ``unexpected``.
    """
    seen: list[logging.LogRecord] = []
    handler, logger = _Keeper(seen), logging.getLogger("cdstats")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield
    logger.removeHandler(handler)
    logger.setLevel(level)
    if seen and not request.node.get_closest_marker("unexpected"):
        raise seen[0].exc_info[1]  # type: ignore[index,misc]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that the long tests need."""
    parser.addoption("--full", action="store_true", help="run the long tests, too")


def pytest_configure(config: pytest.Config) -> None:
    """Try fewer examples, unless the long tests are asked for."""
    settings.load_profile("full" if config.getoption("--full") else "short")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave out the long tests, unless they are asked for."""
    if config.getoption("--full"):
        return
    long = [item for item in items if item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]
