"""What is prepared once for all tests of selfinstruct."""

import fcntl
import importlib.util

import pytest


@pytest.fixture(scope="session", autouse=True)
def compiled_search(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Numba's cache is filled before the first test, so that no test's time or memory includes compiling."""
    if importlib.util.find_spec("numba"):
        from selfinstruct.novelty.cache import prepare

        # one process of a test run in parallel compiles, and the others wait for it
        with (tmp_path_factory.getbasetemp().parent / "compiled-search").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            prepare()
