from __future__ import annotations

from typing import Any


class PoolError(Exception):
    """The pool, or the way to it, could not do what was asked. `code` is one of docs/pool.md."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        shortage: dict[str, Any] | None = None,
        is_temporary: bool = False,
        may_have_arrived: bool = False,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        #: The HTTP status; None where the pool did not answer.
        self.status = status
        #: The field of the request that is at fault.
        self.param = param
        #: Seconds until it makes sense to ask again.
        self.retry_after = retry_after
        #: With `no_account_available`: what stood in the way.
        self.shortage = shortage
        #: True where the same call may succeed later: no account is free, or the pool cannot be reached.
        self.is_temporary = is_temporary
        #: True where the pool may have done what was asked although no answer came.
        self.may_have_arrived = may_have_arrived

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def client_closed() -> PoolError:
    return PoolError("pool_unavailable", "This client is closed.")


def not_the_pool(place: str) -> PoolError:
    message = f"What answers at {place} does not speak the pool's language; check the address."
    return PoolError("pool_unavailable", message)
