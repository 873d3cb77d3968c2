"""What the pool answers, as objects. Fields of a newer pool that this client does not know are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Callable, TypeVar

from ._errors import PoolError, not_the_pool

T = TypeVar("T")


@dataclass(frozen=True)
class Account:
    """A borrowed account. Send `id_token` to the provider as `Authorization: Bearer`."""

    id: str
    email: str | None
    provider: str
    status: str
    id_token: str = field(repr=False)
    #: None for a bearer that does not expire.
    token_expires_at: datetime | None
    token_version: int
    use_count: int
    last_used: datetime | None
    last_refresh_time: datetime | None
    #: Proves which lease a report speaks for.
    fence: int
    slots: int
    capacity: int = 1
    free: bool = False
    #: Upstream models the account may use; None means all.
    models: tuple[str, ...] | None = None
    #: The team to bill, which Warp takes in the header X-Warp-Active-Team-UID.
    team_uid: str | None = None
    label: str | None = None
    #: Lower ones are lent first.
    tier: int = 1
    #: When what is left of its quota expires, where that is a good part and within a day.
    quota_expires_at: datetime | None = None


class Allocation(tuple[bool, str, tuple[Account, ...]]):
    """`(success, session_id, accounts)`, and why where it is no success. True where it is one."""

    def __new__(
        cls,
        success: bool,
        session_id: str,
        accounts: Iterable[Account] = (),
        expires_at: datetime | None = None,
        created: bool = False,
        error: PoolError | None = None,
    ) -> Allocation:
        self = super().__new__(cls, (success, session_id, tuple(accounts)))
        self._more = (expires_at, created, error)
        return self

    _more: tuple[datetime | None, bool, PoolError | None]

    @property
    def success(self) -> bool:
        return self[0]

    @property
    def session_id(self) -> str:
        return self[1]

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Empty where it is no success."""
        return self[2]

    @property
    def expires_at(self) -> datetime | None:
        """When the pool takes the accounts back unless a call renews the session."""
        return self._more[0]

    @property
    def created(self) -> bool:
        """False when the session was there before."""
        return self._more[1]

    @property
    def error(self) -> PoolError | None:
        """Why it is no success: no account is free, or the pool could not be reached."""
        return self._more[2]

    def __bool__(self) -> bool:
        return self.success

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (*self, *self._more)

    def __repr__(self) -> str:
        return (
            f"Allocation(success={self.success!r}, session_id={self.session_id!r}, "
            f"accounts={self.accounts!r}, error={self.error!r})"
        )


@dataclass(frozen=True)
class Release:
    """What became of a release. False where the pool could not be reached: it is then made when the pool is back."""

    success: bool
    #: How many accounts went back. A session that the pool does not know counts as given back.
    released: int
    error: PoolError | None = None

    def __bool__(self) -> bool:
        return self.success


@dataclass(frozen=True)
class ReportResult:
    """What a report did: `applied`, `stale`, `unknown` or `duplicate`, and how the account is now."""

    report_id: str
    account_id: str
    result: str
    status: str | None
    status_until: datetime | None
    #: A newer bearer than the one reported on, if there is one.
    id_token: str | None = field(default=None, repr=False)
    token_version: int | None = None
    token_expires_at: datetime | None = None


@dataclass(frozen=True)
class Bearer:
    """What to send to the provider, and on whose account."""

    token: str = field(repr=False)
    account: Account
    #: None for a bearer that does not expire.
    expires_at: datetime | None


@dataclass(frozen=True)
class Granted:
    """The pool's answer to an allocation."""

    accounts: tuple[Account, ...]
    expires_at: datetime
    created: bool
    #: The pool's own time, by which all the others are meant; None of an older pool.
    timestamp: datetime | None


def read_granted(answer: Mapping[str, Any]) -> Granted:
    return Granted(
        accounts=tuple(_read_account(account) for account in answer["accounts"]),
        expires_at=_time(answer["expires_at"]),
        created=bool(answer.get("created", True)),
        timestamp=_time_or_none(answer.get("timestamp")),
    )


def read_reported(answer: Mapping[str, Any]) -> ReportResult:
    (result,) = answer["results"]
    return _read_result(result)


def read_released(answer: Mapping[str, Any]) -> int:
    return int(answer["released"])


def read_with(read: Callable[[Mapping[str, Any]], T], answer: Mapping[str, Any], place: str) -> T:
    """Raises PoolError where the answer is not of the pool's form."""
    try:
        return read(answer)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise not_the_pool(place) from error


def _read_account(answer: Mapping[str, Any]) -> Account:
    models = answer.get("models")
    return Account(
        id=_text(answer["id"]),
        email=answer.get("email"),
        provider=_text(answer["provider"]),
        status=_text(answer["status"]),
        id_token=_text(answer["id_token"]),
        token_expires_at=_time_or_none(answer.get("token_expires_at")),
        token_version=int(answer["token_version"]),
        use_count=int(answer.get("use_count", 0)),
        last_used=_time_or_none(answer.get("last_used")),
        last_refresh_time=_time_or_none(answer.get("last_refresh_time")),
        fence=int(answer["fence"]),
        slots=int(answer.get("slots", 1)),
        capacity=int(answer.get("capacity", 1)),
        free=bool(answer.get("free", False)),
        models=None if models is None else tuple(models),
        team_uid=answer.get("team_uid"),
        label=answer.get("label"),
        tier=int(answer.get("tier", 1)),
        quota_expires_at=_time_or_none(answer.get("quota_expires_at")),
    )


def _read_result(answer: Mapping[str, Any]) -> ReportResult:
    return ReportResult(
        report_id=_text(answer["report_id"]),
        account_id=_text(answer["account_id"]),
        result=_text(answer["result"]),
        status=answer.get("status"),
        status_until=_time_or_none(answer.get("status_until")),
        id_token=answer.get("id_token"),
        token_version=answer.get("token_version"),
        token_expires_at=_time_or_none(answer.get("token_expires_at")),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _time(value: Any) -> datetime:
    # Python 3.9 and 3.10 do not read the Z.
    return datetime.fromisoformat(_text(value).replace("Z", "+00:00"))


def _time_or_none(value: Any) -> datetime | None:
    return None if value is None else _time(value)


def leases_of(accounts: Iterable[Account]) -> tuple[dict[str, Any], ...]:
    return tuple({"id": account.id, "fence": account.fence} for account in accounts)
