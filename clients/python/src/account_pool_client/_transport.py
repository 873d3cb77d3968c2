"""Connections to the pool, kept and shared: one set for threads, one for each event loop."""

from __future__ import annotations

import asyncio
import platform
import ssl
import threading
import time
from collections.abc import AsyncGenerator
from importlib import metadata
from typing import TypeVar

import httpx

from ._errors import PoolError, client_closed
from ._exchange import Request, Steps

T = TypeVar("T")

#: The pool closes connections that were idle for 75 s.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=60.0)


class Address:
    """Where the pool is and what every request shows."""

    def __init__(self, url: str, api_key: str | None) -> None:
        parsed = _parse(url)
        self._base = parsed.copy_with(path=parsed.path.rstrip("/"), query=None, fragment=None)
        self._api_key = _checked_key(api_key)
        #: As messages name it.
        self.place = str(self._base).rstrip("/")

    def client_options(self) -> tuple[dict[str, str], bool | ssl.SSLContext]:
        """The headers, and which certificates are trusted."""
        headers = {"Accept": "application/json", "User-Agent": _user_agent()}
        if self._api_key is not None:
            headers["Authorization"] = f"Bearer {self._api_key}"
        if self._base.scheme == "http":
            return headers, False
        # Also those of the system and of SSL_CERT_FILE, as a pool of one's own may need.
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()
        return headers, context

    def url(self, path: str) -> httpx.URL:
        return self._base.copy_with(path=self._base.path.rstrip("/") + path)


# As everywhere in Warp2API the pool is never reached through a proxy of the environment (trust_env=False), and a key
# follows no redirect.


class Connections:
    """For threads. Closing does not wait: the last running call closes them."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._http: httpx.Client | None = None
        self._users = 0
        self._is_closed = False

    def run(self, steps: Steps[T]) -> T:
        http: httpx.Client | None = None
        try:
            step = next(steps)
            while True:
                response: httpx.Response | None = None
                try:
                    if isinstance(step, Request):
                        http = http or self._enter()
                        response = self._send(http, step)
                    else:
                        time.sleep(step)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(response)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            if http is not None:
                self._leave()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            http = self._forget_unused()
        if http is not None:
            http.close()

    def after_fork(self) -> None:
        """The connections are the parent's."""
        self._lock = threading.Lock()
        self._http = None
        self._users = 0

    def _send(self, http: httpx.Client, request: Request) -> httpx.Response:
        url = self._address.url(request.path)
        headers = {} if request.body is None else _JSON
        return http.request(
            request.method, url, content=request.body, headers=headers, timeout=request.timeout
        )

    def _enter(self) -> httpx.Client:
        with self._lock:
            if self._is_closed:
                raise client_closed()
            if self._http is None:
                headers, verify = self._address.client_options()
                self._http = httpx.Client(headers=headers, verify=verify, trust_env=False, limits=_LIMITS)
            self._users += 1
            return self._http

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            http = self._forget_unused()
        if http is not None:
            http.close()

    def _forget_unused(self) -> httpx.Client | None:
        if not self._is_closed or self._users > 0:
            return None
        http, self._http = self._http, None
        return http


class _LoopConnections:
    """Those of one event loop, kept by an async generator: the loop ends it when it ends itself (asyncio.run does so), and
    `close` does before."""

    def __init__(self, address: Address) -> None:
        headers, verify = address.client_options()
        self.http = httpx.AsyncClient(headers=headers, verify=verify, trust_env=False, limits=_LIMITS)
        self.users = 0
        self._kept = _keep(self.http)

    async def open(self) -> None:
        await self._kept.__anext__()

    async def close(self) -> None:
        await self._kept.aclose()


async def _keep(http: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await http.aclose()


class AsyncConnections:
    """For asyncio: each event loop has its own, since a connection belongs to the loop that made it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._loops: dict[asyncio.AbstractEventLoop, _LoopConnections] = {}
        self._is_closed = False

    async def run(self, steps: Steps[T]) -> T:
        loop = asyncio.get_running_loop()
        connections: _LoopConnections | None = None
        try:
            step = next(steps)
            while True:
                response: httpx.Response | None = None
                try:
                    if isinstance(step, Request):
                        connections = connections or await self._enter(loop)
                        response = await self._send(connections.http, step)
                    else:
                        await asyncio.sleep(step)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(response)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            if connections is not None and self._leave(loop, connections):
                await connections.close()

    async def aclose(self) -> None:
        await asyncio.gather(*(unused.close() for unused in self._close(asyncio.get_running_loop())))

    def close(self) -> None:
        """Connections of a loop that runs are closed there, soon; a loop that has ended has closed its own."""
        self._close(None)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._loops = {}

    def _close(self, here: asyncio.AbstractEventLoop | None) -> list[_LoopConnections]:
        with self._lock:
            self._is_closed = True
            unused = {loop: found for loop, found in self._loops.items() if found.users == 0}
            self._loops = {loop: found for loop, found in self._loops.items() if found.users > 0}
        for loop, found in unused.items():
            if loop is not here and loop.is_running():
                asyncio.run_coroutine_threadsafe(found.close(), loop)
        return [found for loop, found in unused.items() if loop is here]

    async def _send(self, http: httpx.AsyncClient, request: Request) -> httpx.Response:
        url = self._address.url(request.path)
        headers = {} if request.body is None else _JSON
        return await http.request(
            request.method, url, content=request.body, headers=headers, timeout=request.timeout
        )

    async def _enter(self, loop: asyncio.AbstractEventLoop) -> _LoopConnections:
        with self._lock:
            if self._is_closed:
                raise client_closed()
            self._loops = {known: found for known, found in self._loops.items() if not known.is_closed()}
            connections = self._loops.get(loop)
            is_new = connections is None
            if connections is None:
                connections = self._loops[loop] = _LoopConnections(self._address)
            connections.users += 1
        if is_new:
            # Other tasks of this loop do not come in between: nothing is waited for.
            await connections.open()
        return connections

    def _leave(self, loop: asyncio.AbstractEventLoop, connections: _LoopConnections) -> bool:
        """Whether they have to be closed now."""
        with self._lock:
            connections.users -= 1
            if not self._is_closed or connections.users > 0:
                return False
            self._loops.pop(loop, None)
            return True


_JSON = {"Content-Type": "application/json"}


def _user_agent() -> str:
    try:
        version = metadata.version("warp2api-pool-client")
    except metadata.PackageNotFoundError:
        version = "0"
    return f"warp2api-pool-client/{version} Python/{platform.python_version()}"


def _parse(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parsed = httpx.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host or not 0 < (parsed.port or 80) < 65536:
        raise PoolError("invalid_request", f"{url!r} is no http or https address of a pool.", param="url")
    if parsed.userinfo:
        raise PoolError(
            "invalid_request", "The address may hold no password: give the key as api_key.", param="url"
        )
    return parsed


def _checked_key(api_key: str | None) -> str | None:
    if api_key is None or api_key == "":
        return None
    if isinstance(api_key, str) and all("!" <= character <= "~" for character in api_key):
        return api_key
    message = "The pool key has characters that no HTTP header may carry."
    raise PoolError("invalid_key", message, param="api_key")
