"""One call with its retries, apart from how bytes travel: threads and asyncio drive the same steps."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar, Union

import httpx

from ._errors import PoolError, not_the_pool

T = TypeVar("T")

logger = logging.getLogger("account_pool_client")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: bytes | None
    timeout: float


#: A driver sends the requests and answers with httpx.Response, or throws httpx.RequestError in; it sleeps the seconds.
Steps = Generator[Union[Request, float], Any, T]


@dataclass(frozen=True)
class Limits:
    #: Seconds one try may take.
    timeout: float
    #: Seconds within which a call is tried again.
    max_wait: float

    @classmethod
    def checked(cls, timeout: float, max_wait: float) -> Limits:
        if not _is_number(timeout) or not 0 < timeout <= 86_400:
            raise PoolError("invalid_request", "timeout has to be a number of seconds above 0.", param="timeout")
        if not _is_number(max_wait) or not 0 <= max_wait:
            raise PoolError("invalid_request", "max_wait has to be a number of seconds, at least 0.", param="max_wait")
        return cls(timeout, max_wait)


FIRST_DELAY = 0.2
LONGEST_DELAY = 5.0


def exchange(
    place: str, limits: Limits, method: str, path: str, body: dict[str, Any] | None = None
) -> Steps[dict[str, Any]]:
    """Asks the pool until it has answered or the time is up. Everything it is used for is safe to repeat.
    Raises PoolError."""
    wait = _wait_of(body)
    started = time.monotonic()
    deadline = started + limits.max_wait + (wait or 0.0)
    may_have_arrived = False
    attempt = 0
    while True:
        left = max(0.0, deadline - time.monotonic())
        timeout = limits.timeout + (wait or 0.0)
        if attempt > 0:
            timeout = min(timeout, left)
        content = body
        if attempt > 0 and body is not None and wait is not None:
            # It waits at the pool for what is left, so that the caller waits no longer than it said.
            content = {**body, "wait_ms": max(0, int((started + wait - time.monotonic()) * 1000))}
        request = Request(method, path, None if content is None else _encode(content), timeout)
        try:
            return _read(place, (yield request))
        except httpx.RequestError as error:
            failure = _unanswered(place, request.timeout, error)
            failure.__cause__ = error
        except PoolError as error:
            failure = error
        may_have_arrived = may_have_arrived or failure.may_have_arrived
        delay = _delay(failure, attempt, waited=wait is not None)
        left = deadline - time.monotonic()
        if delay is None or delay >= left:
            failure.may_have_arrived = may_have_arrived
            raise failure
        # One broken connection is nothing to tell of: the pool closes idle ones.
        level = logging.WARNING if attempt == 1 else logging.DEBUG
        logger.log(level, "%s Trying again for up to %.0f s.", failure.message, left)
        yield delay
        attempt += 1


def backoff(attempt: int, first: float = FIRST_DELAY, longest: float = LONGEST_DELAY) -> float:
    """Seconds before a further try: doubled with each, the upper half of it random."""
    return float(min(longest, first * 2.0 ** min(attempt, 30)) * random.uniform(0.5, 1))


def _encode(body: dict[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PoolError("invalid_request", f"An argument cannot be sent as JSON: {error}.") from error


def _delay(failure: PoolError, attempt: int, waited: bool) -> float | None:
    """None where trying again is of no use."""
    if not failure.is_temporary:
        return None
    # The pool has waited for one as long as it was asked to.
    if failure.code == "no_account_available" and waited:
        return None
    return max(backoff(attempt), failure.retry_after or 0.0)


def _wait_of(body: dict[str, Any] | None) -> float | None:
    wait_ms = None if body is None else body.get("wait_ms")
    return max(0.0, wait_ms / 1000) if wait_ms is not None and _is_number(wait_ms) else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _read(place: str, response: httpx.Response) -> dict[str, Any]:
    try:
        content = json.loads(response.content)
    except (ValueError, RecursionError):
        content = None
    if response.is_success:
        if isinstance(content, dict):
            return content
        raise not_the_pool(place)
    raise _refusal(place, response, content)


def _refusal(place: str, response: httpx.Response, content: Any) -> PoolError:
    status = response.status_code
    retry_after = _retry_after(response.headers.get("retry-after"))
    error = content.get("error") if isinstance(content, dict) and content.get("success") is False else None
    if not isinstance(error, dict) or not isinstance(error.get("code"), str):
        message = f"{place} answered with status {status} and no word of the pool; check the address."
        # What a proxy says while the pool behind it restarts.
        is_proxy = 502 <= status <= 504
        return PoolError(
            "pool_unavailable",
            message,
            status=status,
            retry_after=retry_after,
            is_temporary=is_proxy,
            may_have_arrived=is_proxy,
        )
    return PoolError(
        error["code"],
        str(error.get("message", "")),
        status=status,
        param=error.get("param"),
        retry_after=retry_after,
        shortage=error.get("shortage"),
        is_temporary=status == 503,
    )


def _retry_after(header: str | None) -> float | None:
    try:
        return min(86_400.0, max(0.0, float(header))) if header else None
    except ValueError:
        return None


def _unanswered(place: str, timeout: float, error: httpx.RequestError) -> PoolError:
    was_not_sent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    if isinstance(error, httpx.TimeoutException):
        message = f"The pool at {place} did not answer within {timeout:.3g} s."
    elif was_not_sent:
        message = f'The pool at {place} cannot be reached ({error}); start it with "warp2api serve", or correct the address.'
    else:
        message = f"The connection to the pool at {place} broke off ({error or type(error).__name__})."
    return PoolError("pool_unavailable", message, is_temporary=True, may_have_arrived=not was_not_sent)
