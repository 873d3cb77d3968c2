from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import PoolProcess, eventually


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of this machine, and a proxy that would refuse everything."""
    for name in ("POOL_API_KEY", "ADMIN_KEY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PoolProcess, PoolProcess]]:
    """A pool without keys and one with, started together."""
    keys = {"ADMIN_KEY": "admin-key-0123456789", "POOL_API_KEY": "program-key-0123456789"}
    pools = [PoolProcess(tmp_path_factory.mktemp("pool"), settings=settings) for settings in ({}, keys)]
    try:
        for pool in pools:
            pool.add_accounts(5)
        yield pools[0], pools[1]
    finally:
        for pool in pools:
            pool.end()


@pytest.fixture
def start_pool(tmp_path: Path) -> Iterator[Callable[[int], PoolProcess]]:
    """Starts a pool of the test's own; all of them have one database."""
    pools: list[PoolProcess] = []

    def start(port: int) -> PoolProcess:
        pools.append(PoolProcess(tmp_path, port))
        return pools[-1]

    yield start
    for each in pools:
        each.end(signal.SIGKILL)


@pytest.fixture
def pool(started: tuple[PoolProcess, PoolProcess]) -> Iterator[PoolProcess]:
    """The one without keys; a test leaves nothing behind in it."""
    yield started[0]
    eventually(lambda: started[0].sessions() == 0)


@pytest.fixture
def keyed_pool(started: tuple[PoolProcess, PoolProcess]) -> Iterator[PoolProcess]:
    yield started[1]
    eventually(lambda: started[1].sessions() == 0)
