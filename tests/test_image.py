"""The Dockerfile, step by step, without Docker: its lines are run in a folder that stands for `/`."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import pytest

from fault_relay import held_port

#: Everything is installed anew, from the index.
pytestmark = pytest.mark.timeout(900)
REPOSITORY: Final = Path(__file__).parents[1]
#: What lies in the folder that stands for `/`; all else is the machine's own.
_OURS: Final = re.compile(r"(?<![\w.])/(opt/runnel|src|data|config)\b")
_WAIT_SECONDS: Final = 60


@dataclass(slots=True)
class Built:
    """What the lines have come to."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])
    lines: dict[str, str] = field(default_factory=dict[str, str])

    def here(self, text: str) -> str:
        return _OURS.sub(lambda found: f"{self.root}/{found[1]}", text)


def instructions() -> Iterator[tuple[str, str]]:
    for line in (REPOSITORY / "Dockerfile").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            assert not rest.endswith("\\"), "one line each"
            yield name, rest


def copied(built: Built, folder: str, rest: str) -> None:
    if rest.startswith("--from="):
        _, source, target = rest.split(" ")
        assert source == target, "it is there already"
        return
    *sources, target = rest.split(" ")
    for source in sources:
        assert is_sent(source), f".dockerignore keeps {source} from Docker"
        into = Path(built.here(folder)) / target
        if (REPOSITORY / source).is_dir():
            shutil.copytree(REPOSITORY / source, into)
        else:
            shutil.copy(REPOSITORY / source, into)


def is_sent(path: str) -> bool:
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    return ignored[1] == "*" and f"!{path}" in ignored


@pytest.fixture
def built(tmp_path: Path) -> Built:
    built = Built(tmp_path)
    folder = "/"
    python = Path(sys.base_prefix) / "bin"
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    for name, rest in instructions():
        built.lines[name] = rest
        match name:
            case "WORKDIR":
                folder = rest
                Path(built.here(folder)).mkdir(parents=True, exist_ok=True)
            case "COPY":
                copied(built, folder, rest)
            case "ENV":
                variable, _, value = rest.partition("=")
                built.environment[variable] = built.here(value)
            case "RUN":
                owner = f"--owner={os.getuid()} --group={os.getgid()}"
                subprocess.run(
                    ["sh", "-ec", built.here(rest.replace("--owner=10001 --group=10001", owner))],
                    cwd=built.here(folder),
                    env={"PATH": f"{python}:/usr/bin:/bin", "HOME": str(built.root)} | pip,
                    check=True,
                )
            case _:
                pass
    return built


def test_what_was_built_serves_and_ends_when_it_is_told_to(built: Built) -> None:
    assert_whole(built)
    place = held_port()
    port = str(place.getsockname()[1])
    environment = built.environment | {"PORT": port, "HOST": "127.0.0.1", "RUNS_DIR": "runs"}
    [_, healthcheck] = built.lines["HEALTHCHECK"].split(" CMD ")
    with (built.root / "log").open("wb") as log:
        command: list[str] = json.loads(built.lines["CMD"])
        program, *arguments = command
        found = shutil.which(program, path=environment["PATH"])
        assert found is not None
        assert found == str(built.root / "opt/runnel/bin/runnel")
        server = subprocess.Popen(
            [found, *arguments], env=environment, cwd=built.root / "data", stdout=log, stderr=log
        )
        try:
            probe: list[str] = json.loads(healthcheck)
            check, *script = probe
            asked = [shutil.which(check, path=environment["PATH"]) or check, *script]
            deadline = time.monotonic() + _WAIT_SECONDS
            while subprocess.run(
                asked, env=environment, stderr=subprocess.DEVNULL, check=False
            ).returncode:
                assert server.poll() is None, (built.root / "log").read_text()
                assert time.monotonic() < deadline
            answer = httpx.get(f"http://127.0.0.1:{port}/readyz")
            assert answer.json()["status"] == "ok"
            assert (built.root / "data" / "runnel.db").exists()
            server.send_signal(getattr(signal, built.lines["STOPSIGNAL"]))
            assert server.wait(_WAIT_SECONDS) == 0
        finally:
            server.kill()
            server.wait(_WAIT_SECONDS)
            place.close()


def assert_whole(built: Built) -> None:
    """Nothing of the repository is needed, and nothing of the tests is there."""
    python = f"{built.root}/opt/runnel/bin/python"
    for script, holds in (
        ("import runnel; print(runnel.__file__)", f"{built.root}/opt/runnel"),
        ("import importlib.util as u; print(u.find_spec('pytest'))", "None"),
    ):
        told = subprocess.run(
            [python, "-c", script],
            env=built.environment,
            cwd=built.root,
            capture_output=True,
            text=True,
            check=True,
        )
        assert told.stdout.startswith(holds)


def test_it_does_not_run_as_root() -> None:
    assert dict(instructions())["USER"] == "10001:10001"
