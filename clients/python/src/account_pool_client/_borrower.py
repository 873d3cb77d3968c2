"""What the client does, each call once for threads and for asyncio, and the books of what is held."""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections.abc import Coroutine, Iterable, Mapping
from datetime import datetime, timezone
from functools import partial
from typing import Any, TypeVar

from ._answers import (
    Account,
    Allocation,
    Bearer,
    Granted,
    Release,
    ReportResult,
    leases_of,
    read_granted,
    read_released,
    read_reported,
    read_with,
)
from ._errors import PoolError, client_closed
from ._exchange import Limits, Steps, backoff, exchange, logger
from ._held import HeldSession
from ._transport import Address, AsyncConnections, Connections
from ._upkeep import Upkeep

T = TypeVar("T")

_ONCE = 0.0
_AT_EXIT = Limits(timeout=2.0, max_wait=_ONCE)

#: Whose client may be forgotten, but not what it has to give back at the end of the program.
_holding: set[Borrower] = set()


class Borrower:
    """Its calls are steps, which `run` takes in a thread and `run_async` on an event loop."""

    def __init__(self, address: Address, limits: Limits) -> None:
        self.place = address.place
        self._limits = limits
        self._connections = Connections(address)
        self._async_connections = AsyncConnections(address)
        self._upkeep = Upkeep()
        self._lock = threading.Lock()
        self._held: dict[str, HeldSession] = {}
        #: Sessions that could not be given back, or may exist at the pool unknown to this client.
        self._owed: dict[str, None] = {}
        self._owed_now: str | None = None
        self._owed_failures = 0
        self._numbers = itertools.count(1)
        self._is_closed = False

    @property
    def sessions(self) -> dict[str, tuple[Account, ...]]:
        with self._lock:
            return {session_id: held.accounts for session_id, held in self._held.items()}

    def run(self, steps: Steps[T]) -> T:
        return self._connections.run(steps)

    def run_async(self, steps: Steps[T]) -> Coroutine[Any, Any, T]:
        return self._async_connections.run(steps)

    def allocate(self, session_id: str | None, count: int, options: Mapping[str, Any]) -> Steps[Allocation]:
        wish = _wish(count, options)
        name = _new_id() if session_id is None else session_id
        try:
            held = yield from self._ensure(name, wish, is_new=session_id is None)
        except PoolError as error:
            if self._is_closed or not error.is_temporary:
                raise
            return Allocation(False, name, error=error)
        return Allocation(True, name, held.accounts, held.expires_at, held.created)

    def renew(self, session_id: str) -> Steps[Allocation]:
        held = self._held.get(session_id)
        if held is None:
            message = f'This client holds no session "{session_id}".'
            raise PoolError("session_not_found", message, param="session_id")
        return (yield from self.allocate(session_id, held.wish["count"], held.wish))

    def renew_held(self, held: HeldSession) -> Steps[None]:
        if held.is_ended:
            raise _was_released()
        yield from self._ensure(held.session_id, held.wish, is_new=False)

    def open(
        self, session_id: str | None, count: int, renews: bool, options: Mapping[str, Any]
    ) -> Steps[HeldSession]:
        """For a block, which gives its session back also where the pool's answer was lost."""
        held = yield from self._ensure(session_id or _new_id(), _wish(count, options), is_new=True)
        held.is_renewed = renews
        self._plan_renewal(held)
        return held

    def _ensure(self, session_id: str, wish: dict[str, Any], is_new: bool) -> Steps[HeldSession]:
        """`is_new`: what may have been lent by a call that fails is given back."""
        if self._is_closed:
            raise client_closed()
        while not self._reclaim(session_id):
            yield 0.02
        number, asked_at = next(self._numbers), time.monotonic()
        known = self._held.get(session_id)
        try:
            granted = yield from self._ask(session_id, wish, self._limits)
        except BaseException as error:
            may_have_lent = not isinstance(error, PoolError) or error.may_have_arrived
            if is_new and known is None and may_have_lent:
                self._owe(session_id)
            raise
        with self._lock:
            is_unwanted = self._is_closed or (known is not None and known.is_ended)
            if not is_unwanted:
                held = self._held.setdefault(session_id, HeldSession(session_id))
                _holding.add(self)
                held.wish = wish
                lost = held.adopt(granted, number, asked_at)
        if is_unwanted:
            # It was released, or the client closed, while this call was running.
            yield from self._take_back(session_id, self._limits)
            raise client_closed() if self._is_closed else _was_released()
        _tell_lost(held, lost, "session_expired" if granted.created else "lease_ended")
        self._plan_renewal(held)
        return held

    def _ask(self, session_id: str, wish: Mapping[str, Any], limits: Limits) -> Steps[Granted]:
        body = {"session_id": session_id, **wish}
        answer = yield from exchange(self.place, limits, "POST", "/api/accounts/allocate", body)
        return read_with(read_granted, answer, self.place)

    def release(self, session_id: str | None, accounts: Iterable[Account] | None) -> Steps[Release]:
        if self._is_closed:
            raise client_closed()
        if accounts is not None:
            if session_id is None:
                raise PoolError(
                    "invalid_request", "Say which session these accounts are of.", param="session_id"
                )
            return (yield from self._release_some(session_id, tuple(accounts)))
        released = 0
        unreached: PoolError | None = None
        for name in [session_id] if session_id is not None else list(self._held):
            self._end(name)
            if unreached is not None:
                self._owe(name)
                continue
            try:
                released += yield from self._take_back(name, self._limits)
            except BaseException as error:
                if isinstance(error, PoolError) and not error.is_temporary:
                    raise
                self._owe(name)
                if not isinstance(error, PoolError):
                    raise
                unreached = error
        return Release(unreached is None, released, unreached)

    def _release_some(self, session_id: str, accounts: tuple[Account, ...]) -> Steps[Release]:
        try:
            released = yield from self._take_back(session_id, self._limits, accounts)
        except PoolError as error:
            if not error.is_temporary:
                raise
            return Release(False, 0, error)
        with self._lock:
            held = self._held.get(session_id)
            if held is not None:
                held.forget(accounts)
        return Release(True, released)

    def _take_back(
        self, session_id: str, limits: Limits, accounts: tuple[Account, ...] | None = None
    ) -> Steps[int]:
        body: dict[str, Any] = {"session_id": session_id}
        if accounts is not None:
            body["leases"] = leases_of(accounts)
        try:
            answer = yield from exchange(self.place, limits, "POST", "/api/accounts/release", body)
        except PoolError as error:
            if error.code != "session_not_found":
                raise
            return 0
        return read_with(read_released, answer, self.place)

    def report(
        self, session_id: str, account: Account, outcome: str, details: Mapping[str, Any]
    ) -> Steps[ReportResult]:
        if self._is_closed:
            raise client_closed()
        report = {
            "report_id": _new_id(),
            "at": datetime.now(timezone.utc),
            **_given(details),
            "account_id": account.id,
            "fence": account.fence,
            "token_version": account.token_version,
            "outcome": outcome,
        }
        body = {
            "session_id": session_id,
            "reports": [{name: _plain(value) for name, value in report.items()}],
        }
        answer = yield from exchange(self.place, self._limits, "POST", "/api/accounts/report", body)
        result = read_with(read_reported, answer, self.place)
        with self._lock:
            held = self._held.get(session_id)
            if held is not None:
                held.note_report(result)
        return result

    def get(self, path: str) -> Steps[dict[str, Any]]:
        if self._is_closed:
            raise client_closed()
        return (yield from exchange(self.place, self._limits, "GET", path))

    def release_held(self, held: HeldSession) -> Steps[Release]:
        if held.is_ended:
            return Release(True, 0)
        return (yield from self.release(held.session_id, None))

    def bearer(self, held: HeldSession, account_id: str | None, valid_for: float) -> Steps[Bearer]:
        if held.is_ended:
            raise _was_released()
        remembered = held.fresh(account_id, valid_for)
        if remembered is not None and held.is_young():
            return _bearer_of(remembered)
        account = None
        if remembered is not None:
            try:
                yield from self._confirm(held)
                account = held.fresh(account_id, valid_for)
            except PoolError:
                # With the pool away it goes on with what it has until that lapses.
                account = remembered
        if account is None:
            yield from self._ensure(held.session_id, held.wish, is_new=False)
            account = held.fresh(account_id, valid_for)
        if account is None:
            message = f"The pool has no bearer that lasts another {valid_for:g} s for this session."
            raise PoolError("no_account_available", message, is_temporary=True)
        return _bearer_of(account)

    # Renewal in the background.

    def _plan_renewal(self, held: HeldSession) -> None:
        if held.is_renewed and not held.is_ended and held.accounts:
            name = f"renewing {held.session_id}"
            self._upkeep.schedule(name, held.renewal_delay(), partial(self._renew_later, held))

    def _renew_later(self, held: HeldSession) -> float | None:
        if held.is_ended:
            return None
        try:
            self.run(self._confirm(held))
        except PoolError:
            held.failures += 1
            return backoff(held.failures, first=1.0, longest=15.0)
        return held.renewal_delay() if held.accounts else None

    def _confirm(self, held: HeldSession) -> Steps[None]:
        """Asks what is still held and renews it, borrowing nothing in place of what was lost. Raises PoolError when the
        pool is away, which says nothing about the accounts."""
        number, asked_at = next(self._numbers), time.monotonic()
        # A count of 1 and no further wish: all that is held is answered, and nothing is added to it.
        unneeded = ("exclude", "prefer", "model", "labels")
        wish = {name: value for name, value in held.wish.items() if name not in unneeded}
        once = Limits(self._limits.timeout, _ONCE)
        try:
            granted = yield from self._ask(held.session_id, {**wish, "count": 1, "wait_ms": 0}, once)
        except PoolError as error:
            if error.may_have_arrived and held.is_ended:
                self._owe(held.session_id)
            if error.is_temporary and error.code != "no_account_available":
                raise
            # Not one was left and none could be had instead, or the pool lets this client renew no longer.
            return self._lose(held, error.code)
        with self._lock:
            before = {(account.id, account.fence) for account in held.accounts}
            is_ours = any((account.id, account.fence) in before for account in granted.accounts)
            lost = held.adopt(granted, number, asked_at) if is_ours else ()
        if is_ours:
            return _tell_lost(held, lost, "lease_ended")
        # Released meanwhile, or nothing was left and the question has borrowed what nobody here asked for.
        self._lose(held, "session_expired" if granted.created else "lease_ended")
        yield from self._take_back(held.session_id, once)

    def _lose(self, held: HeldSession, reason: str) -> None:
        with self._lock:
            lost, held.accounts = held.accounts, ()
        _tell_lost(held, lost, reason)

    # Releases that could not be delivered.

    def _end(self, session_id: str) -> None:
        """Nothing may renew what is on its way back."""
        with self._lock:
            held = self._held.pop(session_id, None)
            if held is not None:
                held.is_ended = True
                held.accounts = ()
            if not self._held:
                _holding.discard(self)
        self._upkeep.cancel(f"renewing {session_id}")

    def _owe(self, session_id: str) -> None:
        with self._lock:
            self._owed[session_id] = None
        self._upkeep.schedule("giving back", backoff(0), self._give_owed_back)

    def _reclaim(self, session_id: str) -> bool:
        """The id is used again; false while a release of it is on its way."""
        with self._lock:
            if self._owed_now == session_id:
                return False
            self._owed.pop(session_id, None)
            return True

    def _give_owed_back(self) -> float | None:
        while True:
            with self._lock:
                if not self._owed:
                    return None
                session_id = self._owed_now = next(iter(self._owed))
            try:
                self._connections.run(self._take_back(session_id, Limits(self._limits.timeout, _ONCE)))
            except PoolError as error:
                if error.is_temporary:
                    self._owed_failures += 1
                    return backoff(self._owed_failures)
                # Another refusal does not change by repeating.
                logger.warning("Session %s cannot be given back (%s); it expires.", session_id, error)
            finally:
                with self._lock:
                    self._owed_now = None
            self._owed_failures = 0
            with self._lock:
                self._owed.pop(session_id, None)

    # The end.

    def close(self) -> None:
        if self._begin_closing():
            self.run(self._give_all_back(self._limits))
            self._connections.close()
            self._async_connections.close()

    async def aclose(self) -> None:
        if self._begin_closing():
            await self.run_async(self._give_all_back(self._limits))
            await self._async_connections.aclose()
            self._connections.close()

    def close_at_exit(self) -> None:
        if self._begin_closing():
            self.run(self._give_all_back(_AT_EXIT))
            self._connections.close()

    def after_fork(self) -> None:
        """What is held stays with the parent."""
        self._connections.after_fork()
        self._async_connections.after_fork()
        self._upkeep = Upkeep()
        self._lock = threading.Lock()
        for held in self._held.values():
            # A block that the child leaves as well gives nothing back.
            held.is_ended = True
        self._held = {}
        _holding.discard(self)
        self._owed = {}
        self._owed_now = None

    def _begin_closing(self) -> bool:
        with self._lock:
            if self._is_closed:
                return False
            self._is_closed = True
        self._upkeep.stop()
        return True

    def _give_all_back(self, limits: Limits) -> Steps[None]:
        session_ids = [*self._owed, *self._held]
        for session_id in session_ids:
            self._end(session_id)
        for session_id in session_ids:
            try:
                yield from self._take_back(session_id, limits)
            except PoolError as error:
                logger.warning(
                    "Not everything was given back (%s); it goes back when its time is over.", error
                )
                return


def _tell_lost(held: HeldSession, lost: Iterable[Account], reason: str) -> None:
    ids: list[str] = [account.id for account in lost]
    if ids:
        logger.warning("Session %s has lost %s: %s.", held.session_id, ", ".join(ids), reason)


def _bearer_of(account: Account) -> Bearer:
    return Bearer(account.id_token, account, account.token_expires_at)


def _new_id() -> str:
    return str(uuid.uuid4())


def _wish(count: int, options: Mapping[str, Any]) -> dict[str, Any]:
    return {**_given(options), "count": count}


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _plain(value: Any) -> Any:
    # One without a time zone is meant in that of this machine.
    return value.astimezone(timezone.utc).isoformat() if isinstance(value, datetime) else value


def _was_released() -> PoolError:
    return PoolError("session_not_found", "This session was released, or is the parent process's; allocate a new one.")
