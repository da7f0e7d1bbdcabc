"""Several jobs at one server, over real sockets: name spaces, roles, and what an admin sees."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

import pytest
from support.background import BACKSTOP_S, eventually
from support.cli import Cli
from support.logs import logged

import rendezvous.aio
from rendezvous import (
    Server,
    StoreConnectionError,
    StoreLimitError,
    StoreRefusedError,
    StoreValueError,
    TCPStore,
    _core,
)

if not _core.tls_library():
    pytest.skip("this build has no TLS", allow_module_level=True)

SECRETS = {name: name[0] * 40 for name in ("default", "admin", "vision", "reader", "speech")}
TOKENS = f"""
{SECRETS["default"]}
default admin {SECRETS["admin"]}
vision member {SECRETS["vision"]}
rendezvous:vision:reader:{SECRETS["reader"]}
speech member {SECRETS["speech"]}
"""
VISION = f"rendezvous:vision:member:{SECRETS['vision']}"
READER = f"rendezvous:vision:reader:{SECRETS['reader']}"
SPEECH = f"rendezvous:speech:member:{SECRETS['speech']}"
ADMIN = f"rendezvous:default:admin:{SECRETS['admin']}"


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rendezvous")


def store(server: Server, token: str) -> TCPStore:
    return TCPStore("127.0.0.1", server.port, timeout=BACKSTOP_S, token=token)


def test_jobs_with_the_same_names_do_not_meet() -> None:
    """Keys, counts, and what waits are of one name space."""
    with Server(token=TOKENS) as server:
        vision, speech = store(server, VISION), store(server, SPEECH)
        vision.set("key", "of vision")
        speech.set("key", "of speech")
        speech.set("more", "")
        assert vision.get("key") == b"of vision"
        assert vision.num_keys() == 1
        assert store(server, SECRETS["default"]).num_keys() == 0
        assert not vision.check(["more"])
        assert vision.delete_prefix("") == 1
        assert speech.num_keys() == 2


def test_a_reader_looks_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """What it may not do is refused in a sentence and stands in the audit; it is served on."""
    with Server(token=TOKENS) as server:
        store(server, VISION).set("key", "value")
        reader = store(server, READER)
        for refused in (
            lambda: reader.set("key", "x"),
            lambda: reader.add("number", 1),
            lambda: reader.delete_key("key"),
            lambda: reader.queue_push("queue", "x"),
            lambda: reader.queue_pop("queue", block=False),
            lambda: reader.barrier("barrier", 1),
        ):
            with pytest.raises(StoreRefusedError, match="role reader"):
                refused()
            assert reader.get("key") == b"value"
        eventually(
            "the audit",
            lambda: logged(caplog, "audit event=refused", "role='reader'", "what='set'"),
        )
        assert not any(SECRETS["reader"] in text for text in caplog.messages)


def test_an_admin_goes_where_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """By RENDEZVOUS_SPACE, with stores of threads and of asyncio; others are refused by that."""
    with Server(token=TOKENS) as server:
        store(server, VISION).set("key", "of vision")
        assert not store(server, ADMIN).check(["key"])
        named = TCPStore("127.0.0.1", server.port, timeout=BACKSTOP_S, token=ADMIN, space="vision")
        assert named.get("key") == b"of vision"
        monkeypatch.setenv("RENDEZVOUS_SPACE", "vision")
        assert store(server, ADMIN).get("key") == b"of vision"
        monkeypatch.setenv("RENDEZVOUS_TOKEN", ADMIN)

        async def main() -> bytes:
            url = f"tcp://127.0.0.1:{server.port}"
            async with rendezvous.aio.connect(url, BACKSTOP_S) as found:
                return await found.get("key")

        assert asyncio.run(main()) == b"of vision"
        with pytest.raises(StoreRefusedError, match="name space 'speech'"):
            store(server, SPEECH)
        monkeypatch.setenv("RENDEZVOUS_SPACE", "no name")
        with pytest.raises(StoreRefusedError, match="no name"):
            store(server, ADMIN)


def test_status_shows_an_admin_all_name_spaces_and_a_member_its_own(
    cli: Cli, tmp_path: Path
) -> None:
    """With what is in them, and the limits."""
    limits = {"keys_per_space": 1000}
    with Server(token=TOKENS, limits=limits) as server:
        vision = store(server, VISION)
        vision.multi_set(["a", "b", "c"], ["", "", ""])
        speech = store(server, SPEECH)
        endpoint = f"127.0.0.1:{server.port}"
        seen = {
            token: json.loads(
                cli.run("status", "--json", "--endpoint", endpoint, RENDEZVOUS_TOKEN=token).stdout
            )
            for token in (ADMIN, SPEECH)
        }
        assert list(seen[SPEECH]["spaces"]) == ["speech"]
        assert set(seen[ADMIN]["spaces"]) == {"default", "vision", "speech"}
        assert seen[ADMIN]["spaces"]["vision"] == {
            "keys": 3,
            "stored_bytes": seen[ADMIN]["spaces"]["vision"]["stored_bytes"],
            "connections": 1,
            "runs": 0,
            "run_bytes": 0,
            "waits": 0,
        }
        assert seen[SPEECH]["limits"]["keys_per_space"] == 1000
        text = cli.run("status", "--endpoint", endpoint, RENDEZVOUS_TOKEN=READER).stdout.decode()
        assert "name space vision: 3 keys" in text
        assert "limits: keys_per_space=1000" in text
        speech.close()


def turned_away(server: Server, token: str) -> str:
    """A client tries again while there is no room; this one does not for long."""
    with pytest.raises(StoreConnectionError) as caught:
        TCPStore("127.0.0.1", server.port, timeout=5.0, token=token)
    return str(caught.value)


def test_spaces(caplog: pytest.LogCaptureFixture) -> None:
    """So many name spaces are there at a time."""
    with Server(token=TOKENS, limits={"spaces": 2}) as server:
        vision = store(server, VISION)
        assert "the server's limit spaces is 2" in turned_away(server, SPEECH)
        eventually("the audit", lambda: logged(caplog, "limit spaces is 2"))
        vision.close()
        store(server, SPEECH).set("key", "")


def test_connections_per_space(caplog: pytest.LogCaptureFixture) -> None:
    """Another name space has room all the same."""
    with Server(token=TOKENS, limits={"connections_per_space": 1}) as server:
        vision = store(server, VISION)
        assert "limit connections_per_space is 1" in turned_away(server, READER)
        eventually("the audit", lambda: logged(caplog, "limit connections_per_space is 1"))
        store(server, SPEECH).set("key", "")
        vision.set("key", "")


def test_lines_of_the_token_file_say_what_each_name_space_may_use(tmp_path: Path) -> None:
    """And say something else when the file changes: for clients that are connected, too."""
    path = tmp_path / "tokens"

    def write(settings: str) -> None:
        draft = tmp_path / "draft"
        draft.write_text(f"{TOKENS}vision member {SECRETS['vision'][::-1]}2 {settings}\n")
        draft.replace(path)

    write("keys=1")
    with Server(token=path) as server:
        vision, speech = store(server, VISION), store(server, SPEECH)
        vision.set("one", "")
        with pytest.raises(StoreLimitError, match="its quota keys is 1, by the server's token fi"):
            vision.set("two", "")
        for number in range(10):
            speech.set(str(number), "")
        write("keys=2 connections=1")

        def takes() -> bool:
            try:
                vision.set("two", "")
            except StoreLimitError:
                return False
            return True

        # Nobody comes: that it is refused is why the server looks.
        eventually("the new quota", takes)
        assert "its quota connections is 1" in turned_away(server, READER)
        assert vision.get("one") == b""


def test_beyond_a_smaller_quota_all_stays_and_nothing_is_added(tmp_path: Path) -> None:
    """Of who is connected; the server looks at the file when somebody else comes."""
    path, draft = tmp_path / "tokens", tmp_path / "draft"
    path.write_text(TOKENS)
    with Server(token=path) as server:
        vision = store(server, VISION)
        vision.multi_set(["a", "b", "c"], ["", "", ""])
        draft.write_text(TOKENS.replace(SECRETS["vision"], f"{SECRETS['vision']} keys=1"))
        draft.replace(path)

        def is_refused() -> bool:
            store(server, SPEECH).close()
            try:
                vision.set("more", "")
            except StoreLimitError:
                return True
            vision.delete_key("more")
            return False

        eventually("the smaller quota", is_refused)
        assert sorted(vision.list_keys()) == ["a", "b", "c"]
        vision.delete_prefix("")
        vision.set("one", "")
        with pytest.raises(StoreLimitError, match="its quota keys is 1"):
            vision.set("two", "")


def test_a_setting_that_is_none_is_refused_by_file_and_line(
    cli: Cli, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When a server starts; and when its file changes, what was there before holds."""
    path = tmp_path / "tokens"
    path.write_text(f"{TOKENS}vision reader {SECRETS['vision'][::-1]}2 size=1\n")
    with pytest.raises(StoreValueError, match=r"tokens: line 7: .*'size'; settings are keys=N"):
        Server(token=path)
    served = cli.run("serve", "--port", "0", RENDEZVOUS_TOKEN_FILE=str(path))
    assert served.returncode != 0
    assert b"line 7: there is no setting 'size'" in served.stderr
    path.write_text(f"{TOKENS}\nspeech reader {SECRETS['vision'][::-1]}2 keys=1\n")
    with Server(token=path) as server:
        speech = store(server, SPEECH)
        speech.set("one", "")
        path.write_text(f"{TOKENS}\nspeech reader {SECRETS['vision'][::-1]}2 keys=1 keys=2\n")

        def is_told() -> bool:
            store(server, VISION).close()
            return logged(caplog, "has changed and is not used", "line 8: the setting keys")

        eventually("the warning", is_told)
        with pytest.raises(StoreLimitError, match="its quota keys is 1"):
            speech.set("two", "")
