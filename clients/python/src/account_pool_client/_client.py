from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ._answers import Account, Allocation, Release, ReportResult
from ._borrower import Borrower
from ._exchange import Limits, logger
from ._session import SessionBlock
from ._transport import Address

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import AllocateOptions, Outcome, ReportDetails


class AccountPoolClient:
    """Borrows accounts from a pool over HTTP and gives them back, for threads (`..._sync`) and for asyncio.

        client = AccountPoolClient("http://localhost:8019")
        success, session_id, accounts = client.allocate_accounts_sync()
        if success:
            for account in accounts:
                print(f"Using account: {account.email}")
            client.release_accounts_sync(session_id)

    One client serves any number of threads and event loops. What the caller did wrong is raised as PoolError; that no
    account is free or the pool cannot be reached is told by the answers of `allocate_accounts` and `release_accounts`,
    and raised by the other calls. Connection faults, and a 503 when its Retry-After has passed, are tried again.
    """

    def __init__(
        self,
        url: str = "http://localhost:8019",
        api_key: str | None = None,
        *,
        timeout: float = 10.0,
        max_wait: float = 10.0,
    ) -> None:
        """`api_key` is the pool's POOL_API_KEY; by default that of the environment, else its ADMIN_KEY, and "" is none.
        `timeout` is how many seconds one try waits for the pool, `max_wait` within how many a call is tried again (0: once).
        """
        environment_key = os.environ.get("POOL_API_KEY") or os.environ.get("ADMIN_KEY")
        address = Address(url, environment_key if api_key is None else api_key)
        self._borrower = Borrower(address, Limits.checked(timeout, max_wait))
        _borrowers.add(self._borrower)

    def __repr__(self) -> str:
        return f"AccountPoolClient({self._borrower.place!r}, sessions={list(self.sessions)!r})"

    @property
    def sessions(self) -> dict[str, tuple[Account, ...]]:
        """The sessions this client holds, by id."""
        return self._borrower.sessions

    # For threads.

    def allocate_accounts_sync(
        self, count: int = 1, session_id: str | None = None, **options: Unpack[AllocateOptions]
    ) -> Allocation:
        """Ensures that a session holds `count` accounts; without `session_id` a new session, whose id is made here, so
        that a repeated call cannot borrow twice. Give it back with `release_accounts_sync`, or use `session`."""
        return self._borrower.run(self._borrower.allocate(session_id, count, options))

    def release_accounts_sync(
        self, session_id: str | None = None, *, accounts: Iterable[Account] | None = None
    ) -> Release:
        """Gives a session back, or only these accounts of it; without `session_id` every session of this client. One
        that the pool does not know counts as given back."""
        return self._borrower.run(self._borrower.release(session_id, accounts))

    def renew_sync(self, session_id: str) -> Allocation:
        """Renews a session that this client holds, borrows again what was lost, and brings the present bearers."""
        return self._borrower.run(self._borrower.renew(session_id))

    def report_sync(
        self, session_id: str, account: Account, outcome: Outcome, **details: Unpack[ReportDetails]
    ) -> ReportResult:
        """Tells the pool what a turn did to an account, which also renews the session."""
        return self._borrower.run(self._borrower.report(session_id, account, outcome, details))

    def status_sync(self) -> dict[str, Any]:
        """How the pool is doing. Needs the admin key where keys are set."""
        return self._borrower.run(self._borrower.get("/api/accounts/status"))

    def health_sync(self) -> dict[str, Any]:
        """Whether the pool is alive, and whose key this client shows."""
        return self._borrower.run(self._borrower.get("/health"))

    # For asyncio.

    async def allocate_accounts(
        self, count: int = 1, session_id: str | None = None, **options: Unpack[AllocateOptions]
    ) -> Allocation:
        """`allocate_accounts_sync` for asyncio."""
        return await self._borrower.run_async(self._borrower.allocate(session_id, count, options))

    async def release_accounts(
        self, session_id: str | None = None, *, accounts: Iterable[Account] | None = None
    ) -> Release:
        """`release_accounts_sync` for asyncio."""
        return await self._borrower.run_async(self._borrower.release(session_id, accounts))

    async def renew(self, session_id: str) -> Allocation:
        """`renew_sync` for asyncio."""
        return await self._borrower.run_async(self._borrower.renew(session_id))

    async def report(
        self, session_id: str, account: Account, outcome: Outcome, **details: Unpack[ReportDetails]
    ) -> ReportResult:
        """`report_sync` for asyncio."""
        return await self._borrower.run_async(self._borrower.report(session_id, account, outcome, details))

    async def status(self) -> dict[str, Any]:
        """`status_sync` for asyncio."""
        return await self._borrower.run_async(self._borrower.get("/api/accounts/status"))

    async def health(self) -> dict[str, Any]:
        """`health_sync` for asyncio."""
        return await self._borrower.run_async(self._borrower.get("/health"))

    # For both.

    def session(
        self,
        count: int = 1,
        session_id: str | None = None,
        *,
        renew: bool = True,
        **options: Unpack[AllocateOptions],
    ) -> SessionBlock:
        """Accounts for a `with` or `async with` block: renewed in the background, given back at its end, also when it
        raises. PoolError where there are none.

            with client.session(count=2, wait_ms=5000) as session:
                bearer = session.token()
                # call the provider with f"Bearer {bearer.token}", then:
                session.report(bearer.account, "success")
        """
        return SessionBlock(self._borrower, session_id, count, renew, options)

    def close(self) -> None:
        """Gives everything back and closes the connections. Call `aclose` where asyncio was used."""
        self._borrower.close()

    async def aclose(self) -> None:
        """`close` for asyncio."""
        await self._borrower.aclose()

    def __enter__(self) -> AccountPoolClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> AccountPoolClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


_borrowers: weakref.WeakSet[Borrower] = weakref.WeakSet()


def _close_all_at_exit() -> None:
    for borrower in list(_borrowers):
        try:
            borrower.close_at_exit()
        except Exception:
            logger.exception("closing the client of %s failed", borrower.place)


def _after_fork() -> None:
    for borrower in list(_borrowers):
        borrower.after_fork()


atexit.register(_close_all_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
