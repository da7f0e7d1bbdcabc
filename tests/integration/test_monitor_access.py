"""Who may look at a monitor: this machine, readers with a token by TLS, and no page of others."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.certificates import Site, site_in
from support.cli import Cli
from support.monitor import Scene, fetch

from rendezvous import Server, StoreAddressInUseError, StoreRefusedError, TCPStore, _core
from rendezvous.monitor import Monitor, MonitorSecurity

SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"


@pytest.fixture
def scene() -> Iterator[Scene]:
    with closing(Scene()) as scene:
        yield scene


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9109", "[::1]:9109", "x.localhost"])
def test_loopback_is_for_those_who_name_this_machine(scene: Scene, host: str) -> None:
    assert scene.get("/status.json", Host=host).status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:9109", ""])
@pytest.mark.parametrize("path", ["/", "/status.json", "/metrics", "/events", "/healthz"])
def test_a_name_that_others_lead_here_is_refused(scene: Scene, host: str, path: str) -> None:
    """A page of theirs could read the answers, whose origin would be its own."""
    assert scene.get(path, Host=host).status == 421


@pytest.mark.parametrize("path", ["/", "/status.json", "/healthz", "/nothing"])
def test_no_answer_is_kept_framed_or_shared(scene: Scene, path: str) -> None:
    headers = scene.get(path, Origin="https://evil.example").headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_the_page_runs_nothing_but_its_own(scene: Scene) -> None:
    """Neither what its policy allows nor what is in it names another host."""
    reply = scene.get("/")
    policy = reply.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'sha256-" in policy
    assert "://" not in reply.text.replace("http://www.w3.org/2000/svg", "")


def test_beyond_loopback_it_does_not_start_without_proof(tmp_path: Path) -> None:
    tokens = tmp_path / "reader.token"
    tokens.write_text(f"* reader {SECRET}\n")
    with Server() as server:
        for security, missing in (
            (None, "without a certificate and a token for readers"),
            (MonitorSecurity(token_file=tokens), "without a certificate"),
            (MonitorSecurity("cert.pem", "cert.key"), "without a token for readers"),
        ):
            with pytest.raises(StoreRefusedError, match=missing) as caught:
                Monitor(server, "0.0.0.0:0", security=security)
            assert "rendezvous token --space '*' --role reader > reader.token" in str(caught.value)
        with pytest.raises(ValueError, match="cert for HTTP needs its key"):
            Monitor(server, security=MonitorSecurity(cert="cert.pem"))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (SECRET, "has neither a name space nor a role"),
        (f"default member {SECRET}", "has the role member; over HTTP, only readers come"),
        (f"rendezvous:default:admin:{SECRET}", "has the role admin"),
        ("* reader short", "has a secret of 5 characters"),
        (f"a/b reader {SECRET}", "has a name space that is not"),
        (f"* reader {OTHER}", "is the job's own"),
        ("# nothing", "there is no token in it"),
    ],
)
def test_a_token_that_is_not_a_readers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, why: str
) -> None:
    """The job's own token would let who sees a browser's requests change what is stored."""
    monkeypatch.setenv("RENDEZVOUS_TOKEN", OTHER)
    path = tmp_path / "tokens"
    path.write_text(line)
    with Server(token="") as server, pytest.raises(ValueError, match=why) as caught:
        Monitor(server, "127.0.0.1:0", security=MonitorSecurity(token_file=path))
    assert str(path) in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_reader_shows_its_token_and_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text(f"* reader {SECRET}\n")
    with closing(Scene(security=MonitorSecurity(token_file=path))) as scene:
        for open_to_all in ("/", "/healthz", "/readyz"):
            assert scene.get(open_to_all).status == 200
        refused = scene.get("/status.json")
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")
        for shown in (SECRET, f"rendezvous:*:reader:{SECRET}"):
            assert scene.get("/status.json", Authorization=f"Bearer {shown}").status == 200
        for wrong in (f"Basic {SECRET}", "Bearer", f"Bearer {SECRET}0", f"Bearer {SECRET[:-1]}"):
            assert scene.get("/events", Authorization=wrong).status == 401
        path.write_text(f"# renewed\n* reader {OTHER}\n")
        assert scene.get("/status.json", Authorization=f"Bearer {OTHER}").status == 200
        assert scene.get("/status.json", Authorization=f"Bearer {SECRET}").status == 401
        path.write_text("nonsense\n")
        assert scene.get("/status.json", Authorization=f"Bearer {OTHER}").status == 200


def test_a_reader_of_one_name_space_sees_that_alone(tmp_path: Path) -> None:
    """Runs, events and numbers; of the server as a whole it learns nothing."""
    if not _core.tls_library():
        pytest.skip("this build has no TLS, which name spaces need")
    tokens, readers = tmp_path / "tokens", tmp_path / "readers"
    tokens.write_text(f"vision member {SECRET}\nspeech member {OTHER}\n")
    readers.write_text(f"vision reader {SECRET[::-1]}\n* reader {OTHER[::-1]}\n")
    security = MonitorSecurity(token_file=readers)
    with (
        Server(token=tokens) as server,
        Monitor(server, "127.0.0.1:0", security=security) as monitor,
    ):
        for secret, space in ((SECRET, "vision"), (OTHER, "speech")):
            word = f"rendezvous:{space}:member:{secret}"
            store = TCPStore("127.0.0.1", server.port, wait_for_workers=False, token=word)
            store.set(f"key of {space}", "value")
            client = _core.RunClient(
                store,
                f"job-of-{space}",
                _core.Node(f"node-of-{space}", 1, 0),
                _core.GroupSettings(1, 1),
                60,
            )
            client.join(0, 60)

        def seen(path: str, secret: str = SECRET) -> str:
            reply = fetch(monitor.url, path, Authorization=f"Bearer {secret[::-1]}")
            return reply.text

        pytest.importorskip("prometheus_client", reason='pip install "rendezvous-store[metrics]"')
        for path in ("/status.json", "/metrics"):
            assert "speech" in seen(path, OTHER)
            assert "vision" in seen(path, OTHER)
            assert "vision" in seen(path)
            assert "speech" not in seen(path)
        assert "rendezvous_requests_total" in seen("/metrics", OTHER)
        assert "rendezvous_requests_total" not in seen("/metrics")
        assert "no such run" in seen("/status.json?run=job-of-speech&space=speech")
        assert "no such run" in seen("/status.json?run=job-of-speech")
        assert "node-of-vision" in seen("/status.json?run=job-of-vision")
        assert "node-of-speech" in seen("/status.json?run=job-of-speech&space=speech", OTHER)


def test_it_speaks_tls_and_follows_its_certificate(tmp_path: Path) -> None:
    site: Site = site_in(tmp_path / "site")
    files = site.issue("web", "localhost", "127.0.0.1")
    tokens = tmp_path / "tokens"
    tokens.write_text(f"* reader {SECRET}\n")
    security = MonitorSecurity(files["tls_cert"], files["tls_key"], tokens)
    context = ssl.create_default_context(cafile=site.ca)
    with Server() as server, Monitor(server, "0.0.0.0:0", security=security) as monitor:
        url = f"https://127.0.0.1:{monitor.port}/"
        reply = fetch(url, "/status.json", context=context, Authorization=f"Bearer {SECRET}")
        assert reply.status == 200
        assert fetch(url, "/status.json", context=context).status == 401
        # Whoever reaches it from elsewhere names it as they like: the token is the proof.
        assert fetch(url, "/", context=context, Host="node0.cluster:9109").status == 200
        with pytest.raises(OSError, match=r"(?i)reset|closed|empty|broken|bad|remote|wrong"):
            fetch(url.replace("https", "http"))
        site.expired("web", "localhost", "127.0.0.1")
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            fetch(url, context=context)


def test_the_command_refuses_before_it_starts_anything(cli: Cli, tmp_path: Path) -> None:
    for words in (("serve", "--port", "0"), ("exec", "--standalone", "--", "touch", "ran")):
        at = words.index("--") if "--" in words else len(words)
        done = cli.run(*words[:at], "--http", "0.0.0.0:0", *words[at:])
        assert done.returncode == 2
        assert b"--http-token-file reader.token" in done.stderr
        assert b"Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()
    done = cli.run("serve", "--http-cert", "cert.pem")
    assert (done.returncode, b"--http-cert needs --http" in done.stderr) == (2, True)


def test_the_command_makes_tokens_for_readers(cli: Cli, tmp_path: Path) -> None:
    if not _core.tls_library():
        pytest.skip("this build has no TLS, which makes tokens")
    made = cli.run("token", "--space", "*", "--role", "reader").stdout.decode().strip()
    assert made.startswith("rendezvous:*:reader:")
    path = tmp_path / "reader.token"
    path.write_text(made)
    with closing(Scene(security=MonitorSecurity(token_file=path))) as scene:
        assert scene.get("/status.json", Authorization=f"Bearer {made}").status == 200
    assert cli.run("token", "--space", "a b").returncode == 2
    assert cli.run("token", "--save", "--role", "reader").returncode == 2


def test_two_monitors_cannot_have_one_port(scene: Scene) -> None:
    with pytest.raises(StoreAddressInUseError, match="cannot serve HTTP at"):
        Monitor(scene.server, f"127.0.0.1:{scene.monitor.port}")
    descriptors = (
        sum(1 for _ in Path("/proc/self/fd").iterdir()) if Path("/proc/self/fd").is_dir() else 0
    )
    for _ in range(20):
        Monitor(scene.server, "127.0.0.1:0").close()
    if descriptors:
        assert sum(1 for _ in Path("/proc/self/fd").iterdir()) <= descriptors + 2
