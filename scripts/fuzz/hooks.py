"""What schemathesis may not count as a fault: refusals that no schema can tell."""

import schemathesis

# "Schema-valid request rejected", "Schema-violating request accepted"
REJECTED = "ST202"
ACCEPTED = "ST201"

# By operation, the fields whose refusal is right though the request fits its schema. Any other refusal is a fault.
BEYOND_THE_SCHEMA = {
    # The providers, and which kind of credential and whether teams each has, are the deployment's. What people read
    # in lists holds no invisible characters; no pattern that all languages share tells which those are.
    "POST /api/accounts": {"provider", "api_key", "refresh_token", "team_uid", "email", "label", "models"},
    "PATCH /api/accounts/{id}": {"provider", "api_key", "refresh_token", "team_uid", "email", "label", "models"},
    "POST /api/logins": {"provider", "account_id", "team_uid", "label", "models"},
    # The most is MAX_POOL_SIZE.
    "POST /api/accounts/allocate": {"count"},
    # Only what an export sealed can be opened, and only with its passphrase.
    "POST /api/accounts/import": {"sealed", "passphrase"},
    # A cursor is what the page before gave.
    "GET /api/accounts": {"after"},
    "GET /v1/responses/{id}/input_items": {"after", "before"},
    # Only responses made in the background can be cancelled, or have events to come back to.
    "GET /v1/responses/{id}": {"stream", "starting_after"},
    "POST /v1/responses/{id}/cancel": {"response_id"},
}


@schemathesis.hook
def filter_failure(context, failure, case, response):
    # In a query an empty value counts as left out.
    if failure.code == ACCEPTED and "" in (case.query or {}).values():
        return False
    if failure.code != REJECTED:
        return True
    # Of "models.0" the field.
    param = (response.json()["error"].get("param") or "").split(".")[0]
    return param not in BEYOND_THE_SCHEMA.get(case.operation.label, ())
