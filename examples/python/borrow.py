"""Borrows an account from a running pool, reports how its turn went and gives it back.

    pip install ./clients/python && python3 examples/python/borrow.py

POOL_SERVICE_URL is the pool (default http://localhost:8019), POOL_API_KEY its key where it has one.
"""

import os
import sys

from account_pool_client import AccountPoolClient, PoolError


def main() -> int:
    url = os.environ.get("POOL_SERVICE_URL", "http://localhost:8019")
    try:
        with AccountPoolClient(url) as client, client.session(wait_ms=5000) as session:
            bearer = session.token()
            account = bearer.account
            print(f"borrowed {account.id} of {account.provider} until {session.expires_at}")
            # Here the provider is called with f"Bearer {bearer.token}".
            session.report(account, "cancelled")
    except PoolError as error:
        print(error, file=sys.stderr)
        return 1
    print("gave it back")
    return 0


if __name__ == "__main__":
    sys.exit(main())
