"""What stands where a server's token file was, while it serves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.cli import wait_for
from support.entry import gets_in

from rendezvous import Server, _core
from rendezvous._base.deadline import Deadline

if not _core.tls_library():
    pytest.skip("this build has no TLS", allow_module_level=True)

OLD, NEW = "0" * 32, "1" * 32


def test_a_token_file_that_is_a_pipe_for_a_while_is_read_again(tmp_path: Path) -> None:
    """Nobody writes to it, and whoever opened it would wait for good."""
    path, draft = tmp_path / "token", tmp_path / "draft"
    path.write_text(OLD)
    with Server(token=path) as server:
        assert gets_in(server.port, token=OLD)
        path.unlink()
        os.mkfifo(path)
        # It looks once a second at most; if it is late, this only tests less.
        deadline = Deadline.after(1.5)
        while not deadline.is_over:
            assert gets_in(server.port, token=OLD)
        draft.write_text(NEW)
        draft.replace(path)
        wait_for("the other token", lambda: gets_in(server.port, token=NEW))
        assert not gets_in(server.port, token=OLD)
