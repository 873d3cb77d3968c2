"""Real pools of the checkout, each a process, and a connection in between that can be watched and cut."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[3]


class PoolProcess:
    """A pool that is played the vendor by its built-in sandbox."""

    def __init__(self, folder: Path, port: int = 0, settings: Mapping[str, str] | None = None) -> None:
        settings = settings or {}
        self.admin_key = settings.get("ADMIN_KEY")
        node = ROOT / "node_modules" / "node" / "bin" / "node"
        environment = {
            "PATH": os.environ["PATH"],
            "DATA_DIR": str(folder),
            "POOL_SERVICE_PORT": str(port),
            "SHUTDOWN_SECONDS": "0",
            # The program would begin again without them.
            "MALLOC_MMAP_THRESHOLD_": "1048576",
            "MALLOC_ARENA_MAX": "2",
            **settings,
        }
        self.log = folder / "log"
        self._output = self.log.open("ab")
        self._child = subprocess.Popen(
            [str(node) if node.exists() else "node", str(ROOT / "bin" / "warp2api.js"), "serve", "pool"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        self._began = self.log.stat().st_size

    @property
    def url(self) -> str:
        """Where it listens, once it does."""
        return eventually(self._look_for_url)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def _look_for_url(self) -> str | None:
        assert self._child.poll() is None, self.log.read_text()
        text = self.log.read_bytes()[self._began :].decode()
        found = re.search(r'"url":"([^"]+)"[^\n]*the account pool listens', text)
        return None if found is None else found[1]

    def add_accounts(self, count: int) -> None:
        for number in range(count):
            account = {
                "provider": "sandbox",
                "api_key": f"wk-{number}.abc",
                "email": f"a{number}@example.com",
            }
            self.call("/api/accounts", account)

    def call(self, path: str, body: Any = None) -> Any:
        headers = {} if self.admin_key is None else {"Authorization": f"Bearer {self.admin_key}"}
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, headers)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return json.load(answer)

    def sessions(self) -> int:
        return int(self.call("/api/accounts/status")["active_sessions"])

    def in_use(self) -> int:
        return int(self.call("/api/accounts/status")["pool_stats"]["in_use"])

    def freeze(self) -> None:
        self._child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._child.send_signal(signal.SIGCONT)

    def end(self, how: int = signal.SIGTERM) -> None:
        self._child.send_signal(how)
        self._child.wait(30)
        self._output.close()


class Relay:
    """Passes connections on to a pool, and counts them."""

    def __init__(self, port: int, own_port: int = 0) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", own_port))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        #: Connections so far.
        self.count = 0
        #: Everything that was sent to the pool.
        self.sent = b""
        #: So many answers are lost: the connection is closed in place of passing them on.
        self.losing = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Closing alone does not wake a thread that accepts.
        with socket.create_connection(self._listener.getsockname()):
            self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.count += 1
            try:
                pool = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                connection.close()
                continue
            for each in (connection, pool):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass, args=(connection, pool, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(pool, connection, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, is_request: bool) -> None:
        try:
            while piece := source.recv(65_536):
                if is_request:
                    self.sent += piece
                elif self.losing > 0:
                    self.losing -= 1
                    break
                target.sendall(piece)
        except OSError:
            pass
        for each in (source, target):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()


@contextmanager
def relay_to(pool: PoolProcess, own_port: int = 0) -> Iterator[Relay]:
    relay = Relay(pool.port, own_port)
    try:
        yield relay
    finally:
        relay.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def eventually(look: Callable[[], T | None], seconds: float = 60) -> T:
    """Waits for something that another process or thread brings about."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, "It did not come to pass."
        time.sleep(0.02)
