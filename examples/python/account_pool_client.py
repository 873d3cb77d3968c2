"""Borrow accounts from a Warp2API pool. One file to copy; needs only `requests`.

    from account_pool_client import AccountPoolClient

    pool = AccountPoolClient("http://localhost:8019")
    with pool.session(count=1, provider="warp") as session:
        account = session.accounts[0]
        # call the provider with f"Bearer {account['id_token']}", then:
        session.report(account, "success")

Run it to see it work against a running pool: `python3 account_pool_client.py`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import uuid
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Iterator

import requests

DEFAULT_POOL_URL = "http://localhost:8019"


class PoolError(Exception):
    """The pool's answer when it cannot do what was asked. `code` is one of docs/pool.md."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        shortage: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.param = param
        #: Seconds until it makes sense to ask again.
        self.retry_after = retry_after
        #: With `no_account_available`: what stood in the way.
        self.shortage = shortage


class AccountSession:
    """Accounts held until `release()` or the end of a `with` block. Nothing renews it in the background: call
    `renew()` at least every third of its time, or report, which renews as well."""

    def __init__(self, pool: AccountPoolClient, request: dict[str, Any], answer: dict[str, Any]) -> None:
        self._pool = pool
        self._request = request
        self.session_id: str = answer["session_id"]
        self._adopt(answer)

    def _adopt(self, answer: dict[str, Any]) -> None:
        self.accounts: list[dict[str, Any]] = answer["accounts"]
        self.expires_at: str = answer["expires_at"]

    def renew(self) -> None:
        """Renews the session, borrows what was lost and brings the present bearers."""
        self._adopt(self._pool.allocate(**self._request))

    def report(self, account: dict[str, Any], outcome: str, **details: Any) -> dict[str, Any]:
        """Says how a turn went: success, rate_limited, quota_exhausted, unauthorized, refused, unavailable, timeout,
        protocol or cancelled. Details: retry_after_ms, reset_at, usage."""
        report = {
            "report_id": str(uuid.uuid4()),
            "account_id": account["id"],
            "fence": account["fence"],
            "token_version": account["token_version"],
            "outcome": outcome,
            "at": datetime.now(timezone.utc).isoformat(),
            **details,
        }
        return self._pool.report(self.session_id, [report])["results"][0]

    def release(self) -> int:
        """Gives the accounts back and answers how many. Doing it twice is harmless."""
        self.accounts = []
        return self._pool.release(self.session_id)["released"]


class AccountPoolClient:
    """The borrower's calls. Each throws PoolError; only what is safe to repeat is tried again, within `max_wait`
    seconds: after a broken connection, and after a 503 when its Retry-After has passed."""

    def __init__(
        self,
        pool_url: str = DEFAULT_POOL_URL,
        api_key: str | None = None,
        *,
        timeout: float = 10.0,
        retries: int = 3,
        max_wait: float = 30.0,
    ) -> None:
        self.pool_url = pool_url.rstrip("/")
        self.timeout = timeout
        self.retries = retries
        self.max_wait = max_wait
        self._http = requests.Session()
        if api_key:
            self._http.headers["Authorization"] = f"Bearer {api_key}"

    def allocate(self, session_id: str | None = None, count: int = 1, **options: Any) -> dict[str, Any]:
        """Ensures that the session holds `count` accounts. Options: provider, model, exclusive, slots, ttl_seconds,
        wait_ms, exclude, prefer. The id is made here, so that a repeated call cannot borrow twice."""
        body = {"session_id": session_id or str(uuid.uuid4()), "count": count, **options}
        return self._call("POST", "/api/accounts/allocate", body, self.timeout + options.get("wait_ms", 0) / 1000)

    def release(self, session_id: str, leases: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        """Gives everything back, or the leases named by id and fence. A session that is gone counts as given back."""
        body: dict[str, Any] = {"session_id": session_id}
        if leases is not None:
            body["leases"] = [{"id": lease["id"], "fence": lease["fence"]} for lease in leases]
        try:
            return self._call("POST", "/api/accounts/release", body)
        except PoolError as error:
            if error.code != "session_not_found":
                raise
            return {"success": True, "released": 0}

    def report(self, session_id: str, reports: list[dict[str, Any]]) -> dict[str, Any]:
        """Says what turns did to accounts; repeating a report_id is harmless."""
        return self._call("POST", "/api/accounts/report", {"session_id": session_id, "reports": reports})

    def status(self) -> dict[str, Any]:
        """How the pool is doing. Needs the admin key where keys are set."""
        return self._call("GET", "/api/accounts/status")

    @contextmanager
    def session(self, session_id: str | None = None, count: int = 1, **options: Any) -> Iterator[AccountSession]:
        """Accounts for a `with` block, given back at its end, also when it raises."""
        request = {"session_id": session_id or str(uuid.uuid4()), "count": count, **options}
        session = AccountSession(self, request, self.allocate(**request))
        try:
            yield session
        finally:
            session.release()

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> AccountPoolClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None, timeout: float | None = None
    ) -> dict[str, Any]:
        deadline = time.monotonic() + self.max_wait
        attempt = 0
        while True:
            try:
                return self._call_once(method, path, body, timeout or self.timeout)
            except PoolError as error:
                delay = error.retry_after
                attempt += 1
                if delay is None or attempt > self.retries or time.monotonic() + delay > deadline:
                    raise
                time.sleep(max(delay, 0.2 * 2**attempt))

    def _call_once(self, method: str, path: str, body: dict[str, Any] | None, timeout: float) -> dict[str, Any]:
        try:
            answer = self._http.request(
                method, self.pool_url + path, json=body, timeout=timeout, allow_redirects=False
            )
        except requests.Timeout as error:
            message = f"The pool at {self.pool_url} did not answer within {timeout:g} s."
            raise PoolError("pool_unavailable", message) from error
        except requests.RequestException as error:
            message = f"The pool at {self.pool_url} cannot be reached; start it with: warp2api serve"
            raise PoolError("pool_unavailable", message, retry_after=0.0) from error
        try:
            content = answer.json()
        except ValueError:
            content = None
        if answer.ok and isinstance(content, dict):
            return content
        raise _error_from(answer, content, self.pool_url)


def _error_from(answer: requests.Response, content: Any, pool_url: str) -> PoolError:
    error = content.get("error") if isinstance(content, dict) else None
    retry_after = answer.headers.get("Retry-After", "") if answer.status_code == 503 else ""
    wait = float(retry_after) if retry_after.isdigit() else None
    if not isinstance(error, dict) or "code" not in error:
        message = f"{pool_url} answered with status {answer.status_code} and no word of the pool; check the address."
        return PoolError("pool_unavailable", message, status=answer.status_code, retry_after=wait)
    return PoolError(
        error["code"],
        error.get("message", ""),
        status=answer.status_code,
        param=error.get("param"),
        retry_after=wait,
        shortage=error.get("shortage"),
    )


def allocate_accounts_sync(
    pool_url: str = DEFAULT_POOL_URL, session_id: str | None = None, count: int = 1, **options: Any
) -> dict[str, Any]:
    """Borrows accounts and answers a dict with `session_id`, `expires_at` and `accounts`. Further options: `api_key`,
    and those of AccountPoolClient.allocate. Give them back with release_accounts_sync(answer["session_id"])."""
    with AccountPoolClient(pool_url, options.pop("api_key", None)) as pool:
        return pool.allocate(session_id, count, **options)


def release_accounts_sync(
    session_id: str,
    leases: list[dict[str, Any]] | None = None,
    pool_url: str = DEFAULT_POOL_URL,
    api_key: str | None = None,
) -> dict[str, Any]:
    """Gives back what a session holds, or only `leases`, and answers a dict with `released`."""
    with AccountPoolClient(pool_url, api_key) as pool:
        return pool.release(session_id, leases)


def main() -> int:
    parser = argparse.ArgumentParser(description="Borrow accounts from the pool, show them, give them back.")
    parser.add_argument("--pool-url", default=os.environ.get("POOL_SERVICE_URL", DEFAULT_POOL_URL))
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--provider", help="only accounts of this provider")
    arguments = parser.parse_args()
    options = {"provider": arguments.provider} if arguments.provider else {}
    try:
        with AccountPoolClient(arguments.pool_url, os.environ.get("POOL_API_KEY")) as pool:
            with pool.session(count=arguments.count, **options) as session:
                for account in session.accounts:
                    expiry = account["token_expires_at"] or "never"
                    print(f"{account['id']}  {account['provider']}  {account['status']}  bearer expires: {expiry}")
                    session.report(account, "cancelled")
            print(f"gave {arguments.count} back")
    except PoolError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
