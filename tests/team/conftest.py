"""Repositories under git whose stages have run, colleagues' clones of them, and remotes of every kind on loopback."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from people import Remote
from small_pipeline import write_small_pipeline
from trivial_pipeline import Repository, write_repository

TIMEOUT_S = 60


@pytest.fixture(scope="session")
def small_reproduced(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Every stage of the small pipeline has run; nothing is committed. To be copied, not changed."""
    return _reproduced(write_small_pipeline(tmp_path_factory.mktemp("small") / "work"))


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The same of the checkout's own pipeline, which takes DVC ten times as long."""
    return _reproduced(write_repository(tmp_path_factory.mktemp("team") / "work"))


def _reproduced(repository: Repository) -> Repository:
    repository.write(".dvc/config", "[core]\n    analytics = false\n    check_update = false\n")
    repository.write(".dvc/.gitignore", "/cache\n/tmp\n/config.local\n")
    repository.git("init", "--quiet", "--initial-branch", "main")
    repository.repro()
    return repository


@pytest.fixture
def small(small_reproduced: Repository, tmp_path: Path) -> Repository:
    """A fresh copy of the small pipeline's repository, with everything committed."""
    return _committed_copy(small_reproduced, tmp_path)


@pytest.fixture
def work(reproduced: Repository, tmp_path: Path) -> Repository:
    """The same of the checkout's own pipeline."""
    return _committed_copy(reproduced, tmp_path)


def _committed_copy(reproduced: Repository, tmp_path: Path) -> Repository:
    shutil.copytree(reproduced.root, tmp_path / "work", ignore=shutil.ignore_patterns("tmp"))
    repository = Repository(tmp_path / "work")
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", "a run")
    return repository


@pytest.fixture
def clone(tmp_path: Path) -> Callable[[Repository, str], Repository]:
    """Clones a repository under a colleague's name."""

    def cloned(repository: Repository, name: str) -> Repository:
        repository.git("clone", "--quiet", str(repository.root), str(tmp_path / name))
        return Repository(tmp_path / name)

    return cloned


@pytest.fixture(params=["folder", "webdav", "s3", "ssh"])
def remote(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    """An empty remote of each kind that DVC supports and a team may have."""
    folder = tmp_path / "remote"
    folder.mkdir()
    with REMOTES[request.param](folder, monkeypatch) as made:
        yield made


@contextlib.contextmanager
def _folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    yield Remote(str(folder))


@contextlib.contextmanager
def _webdav(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    pytest.importorskip("wsgidav")
    port = free_port()
    served = [sys.executable, "-m", "wsgidav.server.server_cli", "--host", "127.0.0.1", "--port", str(port)]
    with running([*served, "--root", str(folder), "--auth", "anonymous", "--no-config", "--quiet"], port):
        yield Remote(f"webdav://127.0.0.1:{port}/")


@contextlib.contextmanager
def _s3(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    pytest.importorskip("moto")
    boto3 = pytest.importorskip("boto3")
    port = free_port()
    served = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    keys = {"access_key_id": "someone", "secret_access_key": "secret"}
    with running(served, port):
        endpoint = f"http://127.0.0.1:{port}"
        session = {f"aws_{name}": value for name, value in keys.items()}
        boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **session).create_bucket(Bucket="team")
        yield Remote("s3://team/cache", {"endpointurl": endpoint, "region": "us-east-1", **keys})


@contextlib.contextmanager
def _ssh(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
    if sshd is None:
        pytest.skip("there is no sshd here")
    home = folder.parent / "ssh"
    home.mkdir(mode=0o700)
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)], check=True)
    shutil.copy(home / "key.pub", home / "authorized_keys")
    port = free_port()
    (home / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host\nAuthorizedKeysFile {home}/authorized_keys\n"
        f"PidFile {home}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd drops its rights to
    with running([sshd, "-D", "-e", "-f", str(home / "sshd_config")], port):
        settings = {"keyfile": str(home / "key"), "user": getpass.getuser(), "port": str(port)}
        yield Remote(f"ssh://127.0.0.1{folder}", settings)


REMOTES = {"folder": _folder, "webdav": _webdav, "s3": _s3, "ssh": _ssh}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    """A server, from when it takes connections on `port` to the end of the block."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        try:
            deadline = time.monotonic() + TIMEOUT_S
            while not _answers(port):
                assert server.poll() is None, f"{command}: {server.stderr and server.stderr.read()}"
                assert time.monotonic() < deadline, f"{command} does not listen"
                time.sleep(0.05)
            yield
        finally:
            server.kill()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False
