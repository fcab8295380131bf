"""`runnel serve --workers N`: many processes on one socket, and the parent that keeps them."""

import os
import re
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import postgres
from instances import ADMIN_PASSWORD, START_SECONDS, Instance, Instances, running
from processes import run
from provider import Answer, Provider
from reading import Incoming
from waiting import until

#: On a busy machine processes take long to start.
pytestmark = pytest.mark.timeout(180)
WORKERS = 2


class Workers:
    """A parent, and its processes by what the log says of them."""

    def __init__(self, instances: Instances) -> None:
        self.parent: Instance = instances.every[0]

    @property
    def url(self) -> str:
        return self.parent.url

    @property
    def log(self) -> str:
        return self.parent.log.read_text()

    @property
    def started(self) -> list[int]:
        return [int(found) for found in re.findall(r"Started server process \[(\d+)\]", self.log)]

    @property
    def alive(self) -> list[int]:
        return [process for process in self.started if is_alive(process)]

    def wait_until_all_are_ready(self) -> None:
        """At the start: the banner comes then."""
        self._wait(lambda: "curl -N" in self.log and len(self.alive) == WORKERS)

    def wait_until_all_are_there(self) -> None:
        self._wait(lambda: len(self.alive) == WORKERS)

    def _wait(self, holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not holds():
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def workers(folder: Path, provider: Provider, *, grace: str = "20") -> Generator[Workers]:
    with running(
        folder, provider, count=1, started=False, SHUTDOWN_GRACE_SECONDS=grace
    ) as instances:
        made = Workers(instances)
        made.parent.start("--workers", str(WORKERS))
        made.parent.wait_until("/readyz", 200)
        made.wait_until_all_are_ready()
        try:
            yield made
        finally:
            for process in made.alive:
                os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with Provider() as standing_in:
        yield standing_in


@pytest.fixture(scope="module")
def shared(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with workers(tmp_path_factory.mktemp("workers"), provider) as made:
        yield made


@pytest.fixture
def kept(shared: Workers) -> Workers:
    """For tests that leave the parent alone: it starts anew what they end."""
    shared.wait_until_all_are_there()
    return shared


@pytest.fixture
def own(tmp_path: Path, provider: Provider) -> Iterator[Workers]:
    """For tests that end the parent."""
    with workers(tmp_path, provider) as made:
        yield made


@contextmanager
def streaming(made: Workers, provider: Provider) -> Generator[tuple[Incoming, int]]:
    """An answer of which one piece was said, and the process that it comes from."""
    provider.hold()
    provider.answer("gated", Answer(("first", " last"), gate_after=1))
    body = {"username": "admin", "password": ADMIN_PASSWORD}
    token = httpx.post(f"{made.url}/login", json=body).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    question = {"prompt": "?", "model": "chat/gated"}
    with (
        httpx.Client(base_url=made.url, headers=headers, timeout=30) as http,
        http.stream("POST", "/api/generate", json=question) as response,
    ):
        incoming = Incoming(response.iter_bytes())
        incoming.until(b"data: first\n\n")
        _, port = response.extensions["network_stream"].get_extra_info("client_addr")
        [process] = [each for each in made.alive if talks_to(each, port)]
        yield incoming, process


def talks_to(process: int, port: int) -> bool:
    """Whether a connection of the process leads to that port of this machine."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    links = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(f":{port:04X}")}
    return any(str(file.readlink()) in links for file in Path(f"/proc/{process}/fd").iterdir())


def refuses(made: Workers) -> bool:
    return made.parent.status("/healthz") == 0


def test_each_of_them_answers_and_has_its_run_folder(kept: Workers) -> None:
    for process in kept.alive:
        others = [other for other in kept.alive if other != process]
        for other in others:
            os.kill(other, signal.SIGSTOP)
        assert httpx.get(f"{kept.url}/healthz", timeout=10).status_code == 200
        for other in others:
            os.kill(other, signal.SIGCONT)
    assert len(list((kept.parent.log.parent / "runs0").iterdir())) == len(kept.started)


def test_one_banner_tells_the_password_once(tmp_path: Path, provider: Provider) -> None:
    url = postgres.shared().create()
    with running(
        tmp_path, provider, count=1, started=False, database_url=url, ADMIN_PASSWORD=""
    ) as instances:
        made = Workers(instances)
        made.parent.start("--workers", str(WORKERS))
        made.wait_until_all_are_ready()
        assert made.log.count("listens on") == 1
        [password] = re.findall(r"password (\S+) \(shown this once\)", made.log)
        body = {"username": "admin", "password": password}
        assert httpx.post(f"{made.url}/login", json=body).status_code == 200
        made.parent.signal(signal.SIGTERM)
        assert made.parent.wait() == 0
        assert made.alive == []
    postgres.shared().drop(url)


def test_one_that_dies_is_replaced_and_nobody_is_refused_meanwhile(kept: Workers) -> None:
    before = len(kept.started)
    os.kill(kept.alive[0], signal.SIGKILL)
    while len(kept.started) == before:
        assert httpx.get(f"{kept.url}/healthz", timeout=10).status_code == 200
    assert "worker.died" in kept.log


def test_one_that_drains_leaves_new_connections_to_the_others(
    kept: Workers, provider: Provider
) -> None:
    with streaming(kept, provider) as (incoming, process):
        os.kill(process, signal.SIGTERM)
        for _ in range(30):
            answer = httpx.get(f"{kept.url}/healthz", timeout=10)
            assert answer.status_code == 200, answer.text
        assert is_alive(process)
        until(lambda: httpx.get(f"{kept.url}/readyz", timeout=10).status_code == 200)
        provider.release()
        assert incoming.rest().endswith(b"data: [DONE]\n\n")
    until(lambda: not is_alive(process))


def test_hangup_is_passed_on(own: Workers) -> None:
    own.parent.signal(signal.SIGHUP)
    until(lambda: own.log.count("models.reloaded") == WORKERS)


def test_an_interrupt_of_the_whole_group_drains_and_takes_nobody_new(
    own: Workers, provider: Provider
) -> None:
    with streaming(own, provider) as (incoming, _):
        assert own.parent.process is not None
        os.killpg(own.parent.process.pid, signal.SIGINT)  # as a terminal's Ctrl-C does
        until(lambda: refuses(own))
        provider.release()
        assert incoming.rest().endswith(b"data: [DONE]\n\n")
    assert own.parent.wait() == 0
    assert own.alive == []


def test_the_second_signal_does_not_wait(tmp_path: Path, provider: Provider) -> None:
    with (
        workers(tmp_path, provider, grace="600") as made,
        streaming(made, provider),
    ):
        made.parent.signal(signal.SIGTERM)
        until(lambda: refuses(made))
        made.parent.signal(signal.SIGTERM)
        assert made.parent.wait() == 0
        assert made.alive == []


def test_workers_end_with_their_parent(own: Workers) -> None:
    own.parent.signal(signal.SIGKILL)
    own.parent.wait()
    until(lambda: not own.alive)


def test_without_redis_they_are_refused(tmp_path: Path, provider: Provider) -> None:
    del provider
    ended = run(tmp_path, "serve", "--workers", "2")
    assert ended.returncode == 2
    assert ended.stderr.startswith("runnel: --workers 2 needs REDIS_URL: ")


def test_what_is_wrong_with_the_configuration_is_said_once(
    tmp_path: Path, provider: Provider
) -> None:
    with running(tmp_path, provider, count=1, started=False) as instances:
        parent = instances.every[0]
        (tmp_path / "broken.json").write_text("{")
        parent.start("--workers", "3", MODELS_FILE=str(tmp_path / "broken.json"))
        assert parent.wait() == 2
        assert parent.log.read_text().count("runnel: ") == 1


def test_who_dies_again_and_again_at_the_start_is_given_up(
    tmp_path: Path, provider: Provider
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    dies = "import os, sys\nif '--worker' in sys.orig_argv:\n    os._exit(3)\n"
    (broken / "sitecustomize.py").write_text(dies)
    path = os.pathsep.join([str(broken), os.environ.get("PYTHONPATH", "")])
    with running(tmp_path, provider, count=1, started=False, PYTHONPATH=path) as instances:
        parent = instances.every[0]
        parent.start("--workers", "2")
        assert parent.wait() == 1
        assert "workers.given_up" in parent.log.read_text()
