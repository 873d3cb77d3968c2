from __future__ import annotations

import random
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from ._answers import Account, Granted, ReportResult

#: An answer of the pool this young is believed without asking.
_CONFIRMED_FOR = 15.0
_LONGEST_RENEWAL = 600.0
_TTL_OF_OLD_POOLS = 60.0


class HeldSession:
    """What one session holds, by the last word of the pool. Its owner takes care of threads."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.wish: dict[str, Any] = {}
        self.accounts: tuple[Account, ...] = ()
        self.expires_at: datetime | None = None
        self.created = False
        self.is_ended = False
        self.is_renewed = False
        #: Tries to renew it that failed in a row.
        self.failures = 0
        self._number = 0
        self._ttl = _TTL_OF_OLD_POOLS
        self._lapses_at = 0.0
        self._confirmed_at = float("-inf")
        #: The pool's clock less the monotonic one.
        self._ahead: float | None = None

    def adopt(self, granted: Granted, number: int, asked_at: float) -> tuple[Account, ...]:
        """Takes over an answer, unless that of a later call (a higher number) is here already. Answers what was lost."""
        if number < self._number:
            return ()
        self._number = number
        kept = {(account.id, account.fence) for account in granted.accounts}
        excluded = set(self.wish.get("exclude") or ())
        lost = tuple(a for a in self.accounts if (a.id, a.fence) not in kept and a.id not in excluded)
        self.accounts = granted.accounts
        self.expires_at = granted.expires_at
        self.created = granted.created
        self.failures = 0
        if granted.timestamp is not None:
            self._ahead = granted.timestamp.timestamp() - time.monotonic()
            self._ttl = max(1.0, (granted.expires_at - granted.timestamp).total_seconds())
        self._confirmed_at = asked_at
        self._lapses_at = asked_at + self._ttl
        return lost

    def renewal_delay(self) -> float:
        """A third of the time at most, a part of it random so that many clients do not come together."""
        return min(self._ttl / 3, _LONGEST_RENEWAL) * random.uniform(0.8, 1)

    def forget(self, accounts: Iterable[Account]) -> None:
        gone = {(account.id, account.fence) for account in accounts}
        self.accounts = tuple(a for a in self.accounts if (a.id, a.fence) not in gone)

    def note_report(self, result: ReportResult) -> None:
        """A report's answer names a newer bearer and how the account is."""
        self.accounts = tuple(_noted(account, result) for account in self.accounts)

    def is_young(self) -> bool:
        return time.monotonic() - self._confirmed_at < _CONFIRMED_FOR

    def fresh(self, account_id: str | None, valid_for: float) -> Account | None:
        """An account that is still held, with a bearer that lasts."""
        now = time.monotonic()
        if self._lapses_at - min(2.0, self._ttl / 10) <= now:
            return None
        pool_now = time.time() if self._ahead is None else now + self._ahead
        for account in self.accounts:
            expires_at = account.token_expires_at
            lasts = expires_at is None or expires_at.timestamp() - pool_now > valid_for
            if lasts and account_id in (None, account.id):
                return account
        return None


def _noted(account: Account, result: ReportResult) -> Account:
    if result.account_id != account.id:
        return account
    account = replace(account, status=result.status or account.status)
    if result.id_token is None or (result.token_version or 0) <= account.token_version:
        return account
    return replace(
        account,
        id_token=result.id_token,
        token_version=result.token_version or account.token_version,
        token_expires_at=result.token_expires_at,
    )
