"""Borrow accounts from a Warp2API account pool, and give them back.

from account_pool_client import AccountPoolClient

client = AccountPoolClient("http://localhost:8019")
success, session_id, accounts = client.allocate_accounts_sync()
if success:
    for account in accounts:
        print(f"Using account: {account.email}")
    client.release_accounts_sync(session_id)
"""

from ._answers import Account, Allocation, Bearer, Release, ReportResult
from ._client import AccountPoolClient
from ._errors import PoolError
from ._options import AllocateOptions, Outcome, ReportDetails, Usage
from ._session import AccountSession, AsyncAccountSession, SessionBlock

__version__ = "0.1.0"

__all__ = [
    "Account",
    "AccountPoolClient",
    "AccountSession",
    "AllocateOptions",
    "Allocation",
    "AsyncAccountSession",
    "Bearer",
    "Outcome",
    "PoolError",
    "Release",
    "ReportDetails",
    "ReportResult",
    "SessionBlock",
    "Usage",
    "__version__",
]
