from __future__ import annotations

import asyncio
import http.server
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from support import PoolProcess, eventually, free_port, relay_to

from account_pool_client import Account, AccountPoolClient, Allocation, AsyncAccountSession, PoolError

README = Path(__file__).parents[1] / "README.md"


def run_program(program: str, pool: PoolProcess, *flags: str) -> str:
    here = program.replace("http://localhost:8019", pool.url)
    done = subprocess.run(
        [sys.executable, *flags, "-c", here], capture_output=True, text=True, timeout=60, env=os.environ
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def code_of(call: Callable[[], Any]) -> tuple[str, str | None]:
    with pytest.raises(PoolError) as caught:
        call()
    return caught.value.code, caught.value.param


# The calls.


def test_the_programs_of_the_readme_run_as_printed_and_give_everything_back(pool: PoolProcess) -> None:
    programs = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.M | re.S)
    outputs = [run_program(program, pool) for program in programs]
    assert re.fullmatch(r"Using account: a\d@example.com\n", outputs[0])
    assert re.fullmatch(r"\['a\d@example.com', 'a\d@example.com'\]\n", outputs[2])
    assert outputs[3].startswith("no_account_available: ")
    assert pool.sessions() == 0


def test_an_account_has_every_field_of_the_answer(pool: PoolProcess) -> None:
    with AccountPoolClient(pool.url) as client:
        allocation = client.allocate_accounts_sync(session_id="fields")
        success, session_id, [account] = allocation
        assert (success, session_id, bool(allocation), allocation.error) == (True, "fields", True, None)
        assert allocation.created and allocation.expires_at is not None
        listed = pool.call(f"/api/accounts/{account.id}")["account"]
        assert (account.email, account.provider) == (listed["email"], "sandbox")
        assert (account.status, account.slots, account.capacity) == ("active", 1, listed["capacity"])
        assert (account.token_version, account.use_count) == (1, listed["use_count"])
        assert isinstance(account.last_used, datetime) and account.last_used.tzinfo is not None
        assert (account.token_expires_at, account.last_refresh_time, account.models) == (None, None, None)
        assert account.id_token.startswith("wk-") and account.fence >= 1
        assert client.sessions == {"fields": (account,)}
        with pytest.raises(FrozenInstanceError):
            account.email = "other"  # type: ignore[misc]


def test_no_repr_and_no_log_shows_a_token_or_a_key(
    pool: PoolProcess, keyed_pool: PoolProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with AccountPoolClient(keyed_pool.url, "program-key-0123456789") as client:
        with client.session() as session:
            allocation = client.allocate_accounts_sync(session_id=session.session_id)
            shown = [client, session, session.accounts, allocation, *allocation, session.token()]
            text = " ".join([*map(repr, shown), *map(str, shown), caplog.text])
            assert session.accounts[0].id_token not in text
            assert "program-key" not in text
            assert pickle.loads(pickle.dumps(allocation)) == allocation


def test_calling_again_renews_the_session_and_adds_what_is_missing(pool: PoolProcess) -> None:
    with AccountPoolClient(pool.url) as client:
        first = client.allocate_accounts_sync(2, "again", provider=None)
        more = client.allocate_accounts_sync(3, "again")
        assert (first.created, more.created) == (True, False)
        assert set(first.accounts) <= {replace_use(a, first) for a in more.accounts}
        renewed = client.renew_sync("again")
        assert [a.fence for a in renewed.accounts] == [a.fence for a in more.accounts]
        assert code_of(lambda: client.renew_sync("unknown")) == ("session_not_found", "session_id")


def replace_use(account: Account, before: Allocation) -> Account:
    """As it was before, where it was there: a further allocation counts as a use."""
    return next((a for a in before.accounts if (a.id, a.fence) == (account.id, account.fence)), account)


def test_release_without_an_id_gives_back_what_this_client_holds_and_nothing_else(pool: PoolProcess) -> None:
    with AccountPoolClient(pool.url) as client, AccountPoolClient(pool.url) as other:
        other.allocate_accounts_sync()
        client.allocate_accounts_sync()
        _, session_id, accounts = client.allocate_accounts_sync(2)
        assert client.release_accounts_sync(session_id, accounts=accounts[:1]).released == 1
        assert client.sessions[session_id] == accounts[1:]
        release = client.release_accounts_sync()
        assert (bool(release), release.released, client.sessions) == (True, 2, {})
        assert pool.sessions() == 1
        assert client.release_accounts_sync(session_id).success
        assert client.release_accounts_sync("never-heard-of").released == 0


def test_a_mistake_of_the_caller_is_raised_with_the_field_at_fault(pool: PoolProcess) -> None:
    with AccountPoolClient(pool.url) as client:
        options: dict[str, Any] = {"colour": "red"}
        assert code_of(lambda: client.allocate_accounts_sync(**options)) == ("unknown_field", "colour")
        assert code_of(lambda: client.allocate_accounts_sync(0)) == ("invalid_request", "count")
        assert code_of(lambda: client.allocate_accounts_sync(51)) == ("invalid_request", "count")
        assert code_of(lambda: client.allocate_accounts_sync(session_id="a b"))[0] == "invalid_request"
        client.allocate_accounts_sync(session_id="mine")
        mismatch = code_of(lambda: client.allocate_accounts_sync(session_id="mine", exclusive=False))
        assert mismatch[0] == "session_mismatch"
        account = client.sessions["mine"][0]
        assert client.report_sync("unknown", account, "success").result == "stale"
    for url in ("localhost:8019", "", "ftp://localhost", "http://user:secret@localhost", "http://localhost:99999"):
        assert code_of(lambda: AccountPoolClient(url)) == ("invalid_request", "url")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"api_key": "a key"}, "api_key"),
        ({"api_key": 5}, "api_key"),
        *(({"timeout": value}, "timeout") for value in (None, 0, -1, "3", float("nan"), float("inf"))),
        *(({"max_wait": value}, "max_wait") for value in (None, -1, "3", float("nan"))),
    ]
    for arguments, param in wrong:
        assert code_of(lambda: AccountPoolClient(**arguments))[1] == param


def test_what_json_cannot_say_is_refused_and_does_not_keep_the_client_from_closing(pool: PoolProcess) -> None:
    client = AccountPoolClient(pool.url)
    client.allocate_accounts_sync()
    unsayable: Any
    for unsayable in (b"bytes", object(), float("nan")):
        for call in (
            lambda: client.allocate_accounts_sync(session_id=unsayable),
            lambda: client.allocate_accounts_sync(prefer=unsayable),
            lambda: client.release_accounts_sync(unsayable),
        ):
            assert code_of(call) == ("invalid_request", None)
    client.close()
    assert pool.sessions() == 0


def test_a_time_without_a_zone_is_meant_in_that_of_this_machine(pool: PoolProcess) -> None:
    with AccountPoolClient(pool.url) as client, client.session() as session:
        when = datetime.now()
        result = session.report(session.accounts[0], "cancelled", at=when, reset_at=when)
        assert result.result == "applied"


def test_no_free_account_is_no_success_and_says_why(pool: PoolProcess) -> None:
    with relay_to(pool) as relay, AccountPoolClient(relay.url) as client:
        client.allocate_accounts_sync(5)
        success, _, accounts = allocation = client.allocate_accounts_sync()
        # The accounts come back in half an hour, which no call waits for.
        assert relay.sent.count(b"/allocate") == 2
        assert (success, accounts, bool(allocation)) == (False, (), False)
        assert allocation.error is not None and allocation.error.shortage is not None
        assert (allocation.error.code, allocation.error.status) == ("no_account_available", 503)
        assert allocation.error.shortage["reasons"] == {"leased": 5}
        assert code_of(lambda: client.session(wait_ms=1).__enter__())[0] == "no_account_available"


def test_a_503_is_tried_again_when_its_retry_after_has_passed(pool: PoolProcess) -> None:
    with AccountPoolClient(pool.url, max_wait=30) as client:
        holder = client.allocate_accounts_sync(5, ttl_seconds=3)
        # Who lets the pool wait has its last word.
        assert not client.allocate_accounts_sync(wait_ms=1).success
        assert client.allocate_accounts_sync().success
        client.release_accounts_sync(holder.session_id)


def test_reports_arrive_and_bring_the_state_of_the_account(keyed_pool: PoolProcess) -> None:
    pool = keyed_pool
    with AccountPoolClient(pool.url, pool.admin_key) as client, client.session() as session:
        account = session.accounts[0]
        turns = pool.call(f"/api/accounts/{account.id}")["account"]["usage"]["turns"]
        done = session.report(account, "success", usage={"input_tokens": 7}, report_id="one")
        assert (done.result, done.account_id, done.status) == ("applied", account.id, "active")
        assert session.report(account, "success", report_id="one").result == "duplicate"
        assert pool.call(f"/api/accounts/{account.id}")["account"]["usage"]["turns"] == turns + 1
        until = datetime.now(timezone.utc) + timedelta(seconds=1)
        rested = session.report(account, "rate_limited", reset_at=until)
        assert rested.status == "cooldown" and rested.status_until is not None
        assert session.accounts[0].status == "cooldown"


def test_health_and_status(keyed_pool: PoolProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_KEY", "admin-key-0123456789")
    with AccountPoolClient(keyed_pool.url) as client:
        assert client.health_sync()["caller"] == "admin"
        assert client.status_sync()["pool_stats"]["total"] == 5
    monkeypatch.setenv("POOL_API_KEY", "program-key-0123456789")
    with AccountPoolClient(keyed_pool.url) as client:
        assert client.health_sync()["caller"] == "borrower"
        assert code_of(client.status_sync)[0] == "forbidden"
        assert client.allocate_accounts_sync().success


def test_a_wrong_key_and_no_key_are_raised(keyed_pool: PoolProcess) -> None:
    with AccountPoolClient(keyed_pool.url, "wrong") as client:
        assert code_of(client.allocate_accounts_sync) == ("invalid_key", None)
        assert code_of(client.session().__enter__) == ("invalid_key", None)
        assert code_of(lambda: client.release_accounts_sync("any")) == ("invalid_key", None)
    with AccountPoolClient(keyed_pool.url, "") as client:
        assert asyncio.run(client.health())["caller"] == "unknown"
        assert code_of(lambda: asyncio.run(client.allocate_accounts())) == ("invalid_key", None)


# Threads, tasks and loops.


def test_a_thread_and_a_task_that_borrow_together_get_different_accounts(pool: PoolProcess) -> None:
    client = AccountPoolClient(pool.url)

    async def both() -> tuple[Allocation, Allocation]:
        return await asyncio.gather(
            asyncio.to_thread(client.allocate_accounts_sync, 2), client.allocate_accounts(2)
        )

    one, other = asyncio.run(both())
    assert not {a.id for a in one.accounts} & {a.id for a in other.accounts}
    assert pool.in_use() == 4
    client.close()


def test_fifty_threads_never_share_one_of_five_accounts(pool: PoolProcess) -> None:
    lock = threading.Lock()
    held: set[str] = set()
    turns: list[str] = []
    with AccountPoolClient(pool.url) as client:

        def turn() -> None:
            with client.session(wait_ms=60_000) as session:
                account = session.accounts[0].id
                with lock:
                    assert account not in held
                    held.add(account)
                client.report_sync(session.session_id, session.accounts[0], "success")
                with lock:
                    held.remove(account)
                    turns.append(account)

        with ThreadPoolExecutor(50) as threads:
            for done in [threads.submit(turn) for _ in range(50)]:
                done.result()
    assert len(turns) == 50 and len(set(turns)) == 5


def test_each_loop_has_its_own_connections_and_one_client_serves_one_after_another(pool: PoolProcess) -> None:
    client = AccountPoolClient(pool.url)

    async def turn() -> str:
        async with client.session(wait_ms=60_000) as session:
            assert isinstance(session, AsyncAccountSession)
            await session.renew()
            bearer = await session.token()
            await session.report(bearer.account, "success")
            await session.release()
            assert session.is_released
            return bearer.account.id

    async def many() -> int:
        return len(await asyncio.gather(*(turn() for _ in range(5))))

    async def last() -> None:
        async with client:
            assert await many() == 5
            assert (await client.status())["active_sessions"] == 0

    assert asyncio.run(many()) == 5
    assert asyncio.run(many()) == 5
    both_run = threading.Barrier(2, timeout=60)

    async def beside_the_other() -> int:
        await client.health()
        both_run.wait()
        return await many()

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda _: asyncio.run(beside_the_other()), range(2))) == [5, 5]
    asyncio.run(last())
    assert code_of(client.allocate_accounts_sync) == ("pool_unavailable", None)


def test_connections_are_kept(pool: PoolProcess) -> None:
    with relay_to(pool) as relay:
        with AccountPoolClient(relay.url) as client:
            for _ in range(20):
                with client.session():
                    pass
            assert relay.count == 1

            async def many() -> None:
                for _ in range(20):
                    async with client.session():
                        pass
                await client.aclose()

            asyncio.run(many())
            assert relay.count == 2


# When things break.


def test_an_answer_that_was_lost_is_asked_for_again_and_borrows_once(pool: PoolProcess) -> None:
    with relay_to(pool) as relay, AccountPoolClient(relay.url) as client:
        relay.losing = 2
        assert client.allocate_accounts_sync(2).success
        assert len(re.findall(rb"POST /api/accounts/allocate", relay.sent)) == 3
        assert pool.in_use() == 2


def test_what_a_failed_call_may_have_borrowed_goes_back(pool: PoolProcess) -> None:
    with relay_to(pool) as relay, AccountPoolClient(relay.url, max_wait=0) as client:
        relay.losing = 1
        allocation = client.allocate_accounts_sync(2)
        assert allocation.error is not None and allocation.error.may_have_arrived
        eventually(lambda: pool.sessions() == 0 and b"/release" in relay.sent)


def test_a_task_that_is_cancelled_while_it_borrows_gives_back(pool: PoolProcess) -> None:
    with relay_to(pool) as relay:

        async def main() -> None:
            async with AccountPoolClient(relay.url) as client:
                async with client.session(5):
                    waiting = asyncio.create_task(client.allocate_accounts(1, wait_ms=60_000))
                    while relay.sent.count(b"allocate") < 2:
                        await asyncio.sleep(0.01)
                    waiting.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await waiting
                while b'"count": 1' in relay.sent and relay.sent.count(b"/release") < 2:
                    await asyncio.sleep(0.01)
                assert client.sessions == {}

        asyncio.run(asyncio.wait_for(main(), 60))


def test_a_call_outlives_a_restart_of_the_pool_and_says_so_when_the_pool_stays_away(
    start_pool: Callable[[int], PoolProcess], caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    first = start_pool(port)
    with AccountPoolClient(first.url, max_wait=40) as client, ThreadPoolExecutor(1) as threads:
        first.add_accounts(5)
        kept = client.allocate_accounts_sync()
        first.end()
        waiting = threads.submit(client.allocate_accounts_sync, 3, "after")
        eventually(lambda: "Trying again" in caplog.text)
        second = start_pool(port)
        assert len(waiting.result().accounts) == 3
        assert second.in_use() == 4
        assert client.release_accounts_sync(kept.session_id).released == 1

    hasty = AccountPoolClient(second.url, max_wait=0.5)
    with hasty.session() as session:
        token = session.token()
        second.end(signal.SIGKILL)
        session._held._confirmed_at = float("-inf")
        assert session.token() == token
        allocation = hasty.allocate_accounts_sync()
        assert allocation.error is not None and allocation.error.code == "pool_unavailable"
        assert "start it with" in str(allocation.error) and not allocation.error.may_have_arrived
        assert code_of(hasty.status_sync)[0] == "pool_unavailable"
    assert hasty.sessions == {}
    hasty.close()


def test_a_release_that_could_not_be_delivered_is_made_when_the_pool_is_back(pool: PoolProcess) -> None:
    port = free_port()
    with (
        AccountPoolClient(pool.url) as other,
        AccountPoolClient(f"http://127.0.0.1:{port}", max_wait=0) as client,
    ):
        other.allocate_accounts_sync(session_id="owed")
        release = client.release_accounts_sync("owed")
        assert (release.success, release.released) == (False, 0)
        assert release.error is not None and release.error.is_temporary
        with relay_to(pool, port):
            eventually(lambda: pool.sessions() == 0)


def test_a_pool_that_hangs_is_given_up_after_the_timeout(pool: PoolProcess) -> None:
    with AccountPoolClient(pool.url, timeout=0.5, max_wait=0) as client:
        pool.freeze()
        try:
            with pytest.raises(PoolError, match="did not answer within 0.5 s") as caught:
                client.health_sync()
            assert caught.value.may_have_arrived
        finally:
            pool.thaw()


def test_an_address_that_is_not_the_pools_fails_immediately() -> None:
    asked: list[str] = []

    class Other(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(int(self.path.split("/")[1]))
            self.send_header("Location", "/200/elsewhere")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for status in (200, 302, 404, 500):
            client = AccountPoolClient(f"http://127.0.0.1:{server.server_port}/{status}/")
            with pytest.raises(PoolError, match="check the address") as caught:
                client.allocate_accounts_sync()
            assert not caught.value.is_temporary
            client.close()
        server.shutdown()
    # No redirect is followed, and nothing is tried again.
    assert asked == [f"/{status}/api/accounts/allocate" for status in (200, 302, 404, 500)]


@pytest.mark.parametrize(
    "answer", ['{"results": []}', '{"results": {}}', '{"results": [{"report_id": 1}]}', "[" * 100_000, "null", ""]
)
def test_an_answer_of_another_form_is_a_pool_error(pool: PoolProcess, answer: str) -> None:
    class Other(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None:
            pass

    with AccountPoolClient(pool.url) as real, real.session() as session:
        account = session.accounts[0]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with AccountPoolClient(f"http://127.0.0.1:{server.server_port}") as client:
            for call in (lambda: client.report_sync("any", account, "success"), client.allocate_accounts_sync):
                with pytest.raises(PoolError, match="check the address"):
                    call()
        server.shutdown()


# Sessions.


def test_a_block_gives_back_when_it_raises_and_the_error_is_its_own(pool: PoolProcess) -> None:
    with AccountPoolClient(pool.url) as client:
        with pytest.raises(RuntimeError, match="work failed"), client.session(2) as session:
            assert pool.in_use() == 2
            raise RuntimeError("work failed")
        assert (session.accounts, session.is_released, pool.sessions()) == ((), True, 0)
        assert session.release().released == 0
        assert code_of(session.token)[0] == "session_not_found"
        assert code_of(session.renew)[0] == "session_not_found"


def test_a_block_is_renewed_until_its_end_and_not_after_it(pool: PoolProcess) -> None:
    with AccountPoolClient(pool.url) as client:
        with client.session(ttl_seconds=6) as session, client.session(ttl_seconds=1, renew=False) as other:
            fence = session.accounts[0].fence
            eventually(lambda: pool.sessions() == 1)
            first = session.expires_at
            assert first is not None
            eventually(lambda: session.expires_at is not None and session.expires_at > first)
            assert session.accounts[0].fence == fence
            # What has lapsed is borrowed again when it is wanted.
            assert other.token().account.id != session.accounts[0].id
        assert pool.sessions() == 0
        # Its thread lives while there is something to renew.
        eventually(lambda: "account-pool-client" not in [thread.name for thread in threading.enumerate()])


def test_a_block_whose_session_was_taken_away_says_so(
    pool: PoolProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        relay_to(pool) as relay,
        AccountPoolClient(relay.url) as client,
        AccountPoolClient(pool.url) as other,
    ):
        with client.session(session_id="taken", ttl_seconds=2) as session:
            assert other.release_accounts_sync("taken").released == 1
            eventually(lambda: session.accounts == ())
            assert "Session taken has lost" in caplog.text
            # What the question has borrowed in its place goes back.
            eventually(lambda: b"/release" in relay.sent)
            assert session.token().account in session.accounts


def test_a_program_that_ends_gives_back_what_it_holds_and_a_fork_does_not(pool: PoolProcess) -> None:
    program = """
import os, sys
from account_pool_client import AccountPoolClient
client = AccountPoolClient("http://localhost:8019")
client.allocate_accounts_sync(session_id="kept")
child = os.fork()
if child == 0:
    assert client.sessions == {}
    assert client.allocate_accounts_sync(session_id="child").success
    sys.exit()
os.waitpid(child, 0)
print(client.status_sync()["active_sessions"], list(client.sessions))
"""
    # Python warns of forks beside other threads, and there are none yet.
    assert run_program(program, pool, "-W", "error::DeprecationWarning") == "1 ['kept']\n"
    assert pool.sessions() == 0


def test_what_a_client_holds_that_the_program_has_forgotten_goes_back_at_its_end(pool: PoolProcess) -> None:
    program = """
import gc
from account_pool_client import AccountPoolClient
success, _, accounts = AccountPoolClient("http://localhost:8019").allocate_accounts_sync(session_id="forgotten")
gc.collect()
print(AccountPoolClient("http://localhost:8019").status_sync()["active_sessions"])
"""
    assert run_program(program, pool) == "1\n"
    assert pool.sessions() == 0


def test_a_fork_that_leaves_its_parents_block_gives_nothing_back(pool: PoolProcess) -> None:
    program = """
import os
from account_pool_client import AccountPoolClient
client = AccountPoolClient("http://localhost:8019")
with client.session(renew=False) as session:
    child = os.fork()
    if child != 0:
        os.waitpid(child, 0)
        print(client.status_sync()["active_sessions"], len(session.accounts), session.is_released)
"""
    assert run_program(program, pool) == "1 1 False\n"
    assert pool.sessions() == 0


def test_a_block_is_entered_once(pool: PoolProcess) -> None:
    with AccountPoolClient(pool.url) as client:
        block = client.session()
        with block, pytest.raises(RuntimeError, match="entered before"), block:
            pass
        assert client.sessions == {}


def test_closing_within_a_block_is_quiet_and_final(pool: PoolProcess) -> None:
    client = AccountPoolClient(pool.url)
    with client.session() as session:
        client.close()
        client.close()
        assert session.is_released and pool.sessions() == 0
    assert code_of(client.allocate_accounts_sync) == ("pool_unavailable", None)
    assert code_of(lambda: asyncio.run(client.health())) == ("pool_unavailable", None)


def test_what_is_borrowed_while_the_client_closes_goes_back(pool: PoolProcess) -> None:
    with relay_to(pool) as relay, AccountPoolClient(pool.url) as holder, ThreadPoolExecutor(1) as threads:
        holder.allocate_accounts_sync(5)
        client = AccountPoolClient(relay.url)
        waiting = threads.submit(client.allocate_accounts_sync, 1, wait_ms=60_000)
        eventually(lambda: b"wait_ms" in relay.sent)
        client.close()
        holder.release_accounts_sync()
        with pytest.raises(PoolError, match="closed"):
            waiting.result()
        assert pool.sessions() == 0
