from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ._answers import Account, Bearer, Release, ReportResult
from ._errors import PoolError
from ._exchange import logger
from ._held import HeldSession

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._borrower import Borrower
    from ._options import Outcome, ReportDetails


class _Session:
    def __init__(self, borrower: Borrower, held: HeldSession) -> None:
        self._borrower = borrower
        self._held = held

    @property
    def session_id(self) -> str:
        return self._held.session_id

    @property
    def accounts(self) -> tuple[Account, ...]:
        """What is held by the last word of the pool, with the present bearers; empty after a loss or a release."""
        return self._held.accounts

    @property
    def expires_at(self) -> datetime | None:
        """When the pool takes the accounts back unless a call renews the session."""
        return self._held.expires_at

    @property
    def created(self) -> bool:
        """False when the session was there before."""
        return self._held.created

    @property
    def is_released(self) -> bool:
        return self._held.is_ended

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.session_id!r}, accounts={self.accounts!r})"


class AccountSession(_Session):
    """Accounts held for a `with` block, and renewed in the background until its end."""

    def token(self, account_id: str | None = None, *, valid_for: float = 10.0) -> Bearer:
        """A bearer that lasts `valid_for` seconds, of this account or of the first that has one. From memory where the
        last answer is young; a session whose accounts were lost borrows again. With the pool away it goes on with what
        it has until that lapses."""
        return self._borrower.run(self._borrower.bearer(self._held, account_id, valid_for))

    def renew(self) -> None:
        """Renews the session now, borrows again what was lost, and brings the present bearers."""
        self._borrower.run(self._borrower.renew_held(self._held))

    def report(self, account: Account, outcome: Outcome, **details: Unpack[ReportDetails]) -> ReportResult:
        """Tells the pool what a turn did to the account, which also renews the session."""
        return self._borrower.run(self._borrower.report(self.session_id, account, outcome, details))

    def release(self) -> Release:
        """Gives the accounts back before the end of the block. Doing it twice is harmless."""
        return self._borrower.run(self._borrower.release_held(self._held))


class AsyncAccountSession(_Session):
    """Accounts held for an `async with` block, and renewed in the background until its end."""

    async def token(self, account_id: str | None = None, *, valid_for: float = 10.0) -> Bearer:
        """`AccountSession.token` for asyncio."""
        return await self._borrower.run_async(self._borrower.bearer(self._held, account_id, valid_for))

    async def renew(self) -> None:
        """`AccountSession.renew` for asyncio."""
        await self._borrower.run_async(self._borrower.renew_held(self._held))

    async def report(
        self, account: Account, outcome: Outcome, **details: Unpack[ReportDetails]
    ) -> ReportResult:
        """`AccountSession.report` for asyncio."""
        return await self._borrower.run_async(
            self._borrower.report(self.session_id, account, outcome, details)
        )

    async def release(self) -> Release:
        """`AccountSession.release` for asyncio."""
        return await self._borrower.run_async(self._borrower.release_held(self._held))


class SessionBlock:
    """What `AccountPoolClient.session` makes: to be entered by `with` or by `async with`, once."""

    def __init__(
        self,
        borrower: Borrower,
        session_id: str | None,
        count: int,
        renews: bool,
        options: Mapping[str, Any],
    ) -> None:
        self._borrower = borrower
        self._asked = (session_id, count, renews, options)
        self._held: HeldSession | None = None
        self._is_entered = False

    def _enter_once(self) -> None:
        if self._is_entered:
            raise RuntimeError("This block was entered before; call client.session() for each.")
        self._is_entered = True

    def __enter__(self) -> AccountSession:
        self._enter_once()
        self._held = self._borrower.run(self._borrower.open(*self._asked))
        return AccountSession(self._borrower, self._held)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._held is not None:
            with _quiet_after(error):
                self._borrower.run(self._borrower.release_held(self._held))

    async def __aenter__(self) -> AsyncAccountSession:
        self._enter_once()
        self._held = await self._borrower.run_async(self._borrower.open(*self._asked))
        return AsyncAccountSession(self._borrower, self._held)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._held is not None:
            with _quiet_after(error):
                await self._borrower.run_async(self._borrower.release_held(self._held))


@contextmanager
def _quiet_after(error: BaseException | None) -> Iterator[None]:
    """Where the block has raised, its error is the one to be seen."""
    try:
        yield
    except PoolError as refused:
        if error is None:
            raise
        logger.warning("A session could not be given back: %s", refused)
