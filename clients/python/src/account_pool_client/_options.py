from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypedDict

Outcome = Literal[
    "success",
    "rate_limited",
    "quota_exhausted",
    "unauthorized",
    "refused",
    "unavailable",
    "timeout",
    "protocol",
    "cancelled",
]


class AllocateOptions(TypedDict, total=False):
    """What an allocation may ask for; docs/pool.md has the defaults. A field that is None counts as not given."""

    provider: str | None
    """Only accounts of this provider."""
    model: str | None
    """Only accounts that may use this upstream model."""
    labels: Sequence[str] | None
    """Only accounts whose label is one of these."""
    exclusive: bool | None
    """False shares the account with other sessions."""
    slots: int | None
    """Turns at a time on each account; more than 1 needs `exclusive=False`."""
    ttl_seconds: int | None
    """Idle seconds after which the accounts go back."""
    wait_ms: int | None
    """How long the pool shall wait for a free account, up to 60,000."""
    exclude: Sequence[str] | None
    """Ids of accounts that will not do."""
    prefer: str | None
    """The id of an account to take if it is free."""


class Usage(TypedDict, total=False):
    """What a turn used."""

    input_tokens: int
    output_tokens: int
    credits: float
    cost_cents: float
    turns: int


class ReportDetails(TypedDict, total=False):
    """What a report says beyond the outcome. The id and the time are filled in."""

    usage: Usage
    retry_after_ms: int
    reset_at: datetime | str
    report_id: str
    """The same id counts once."""
    at: datetime | str
