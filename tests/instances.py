"""Many instances as in earnest: processes behind a real nginx, with Postgres and Redis.

    with running(folder, provider, count=3) as instances:
        asked = instances.client().post("/api/generate", json={"prompt": "?", "background": True})
        instances.kill(0)
        ...

- `running(...)` gives them a database of their own in the worker's Postgres, a key prefix of their own
  in the worker's Redis, one DATA_DIR, and deploy/nginx.conf in front. `redis` and `database_url`
  name others, which the caller may then stop; `relayed=True` puts a FaultRelay between each instance
  and its Redis, and its Postgres: `instances.redis(i)`, `instances.database(i)`.
- Settings are keywords: `LEASE_SECONDS="2"`. `started=False` leaves starting to the test.
- `chat/test` and `chat/gated` ask the stand-in `provider`, which lives in the test's process;
  `chat/prefilled` is `chat/gated`, and goes on with what it is shown of its answer.
- An instance keeps its port: `restart` starts it on the same one.
- What the instances and nginx have written is printed at the end; pytest shows it of tests that fail.

Whatever happens, nothing that was started is left.
"""

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from json import dumps
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

import postgres
import redis_server
from fault_relay import FaultRelay, held_port
from nginx import Nginx
from processes import COMMAND
from provider import Provider
from redis_server import RedisServer

ADMIN_PASSWORD: Final = "a password of the first admin"
START_SECONDS: Final = 90
END_SECONDS: Final = 40
_POLL_SECONDS: Final = 0.05
#: How much of a log is shown of a test that failed.
_SHOWN_CHARACTERS: Final = 20_000
_SECRET: Final = "a secret that all the instances of a test share"


class Instance:
    """One of them, whose process may end and be started again."""

    def __init__(self, folder: Path, name: str, settings: dict[str, str]) -> None:
        self._place = held_port()
        self.port: int = self._place.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{name}.log"
        self._folder = folder
        self.settings = settings | {"PORT": str(self.port)}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, **changes: str) -> None:
        """Returns at once."""
        assert self.process is None or self.process.poll() is not None, "it is still running"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", *arguments],
                env=self.settings | changes,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # an interrupt from the keyboard is pytest's
            )

    def status(self, path: str) -> int:
        """Of an answer to GET; 0 where nobody listens, or nobody answers in time."""
        try:
            return httpx.get(self.url + path, timeout=2).status_code
        except httpx.TransportError:
            return 0

    def wait_until(self, path: str, status: int) -> None:
        """Blocks until GET is answered so. Fails if the process ends meanwhile."""
        deadline = time.monotonic() + START_SECONDS
        while (found := self.status(path)) != status:
            assert self.process is not None
            assert self.process.poll() is None, f"it ended with {self.process.returncode}"
            assert time.monotonic() < deadline, f"{path} is {found}, not {status}"
            time.sleep(_POLL_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        assert self.process is not None
        return self.process.wait(END_SECONDS)

    def remove(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(END_SECONDS)
        self._place.close()


class Instances:
    """All of them, by their numbers from 0."""

    def __init__(
        self,
        every: list[Instance],
        nginx: Nginx,
        relays: dict[str, list[FaultRelay]],
        stack: ExitStack,
    ) -> None:
        self.every = every
        self.nginx = nginx
        self._relays = relays
        self._stack = stack
        self._token = ""

    def __len__(self) -> int:
        return len(self.every)

    def start(self, numbers: Iterable[int] | None = None) -> None:
        """Starts them all at once, and returns when each is ready."""
        chosen = [
            self.every[number] for number in (range(len(self)) if numbers is None else numbers)
        ]
        for instance in chosen:
            instance.start()
        for instance in chosen:
            instance.wait_until("/readyz", 200)

    def url(self, number: int | None = None) -> str:
        """Of one instance; without a number, nginx's."""
        return self.nginx.url if number is None else self.every[number].url

    @property
    def token(self) -> str:
        """Of the first admin, asked of whichever instance answers."""
        if not self._token:
            body = {"username": "admin", "password": ADMIN_PASSWORD}
            answer = httpx.post(f"{self.nginx.url}/login", json=body, timeout=END_SECONDS)
            self._token = answer.raise_for_status().json()["access_token"]
        return self._token

    def client(self, number: int | None = None) -> httpx.Client:
        """A client of one instance, or of nginx, signed in; it is closed at the end."""
        headers = {"Authorization": f"Bearer {self.token}"}
        client = httpx.Client(base_url=self.url(number), headers=headers, timeout=END_SECONDS)
        return self._stack.enter_context(client)

    def redis(self, number: int) -> FaultRelay:
        """What stands between an instance and Redis, with `relayed=True`."""
        return self._relays["redis"][number]

    def database(self, number: int) -> FaultRelay:
        """What stands between an instance and Postgres, with `relayed=True`."""
        return self._relays["database"][number]

    def kill(self, number: int) -> None:
        """kill -9."""
        self.every[number].signal(signal.SIGKILL)
        self.every[number].wait()

    def stop(self, number: int) -> None:
        """SIGSTOP: its connections stay, and it does nothing."""
        self.every[number].signal(signal.SIGSTOP)

    def cont(self, number: int) -> None:
        """SIGCONT."""
        self.every[number].signal(signal.SIGCONT)

    def terminate(self, number: int) -> None:
        """SIGTERM; `wait` awaits what comes of it."""
        self.every[number].signal(signal.SIGTERM)

    def wait(self, number: int) -> int:
        """The exit code of one that is ending."""
        return self.every[number].wait()

    def restart(self, number: int) -> None:
        """Starts one again that has ended, on its port, and returns when it is ready."""
        self.start([number])

    def logged(self, number: int) -> str:
        """What an instance has written so far, banner and log."""
        return self.every[number].log.read_text()

    def tell(self) -> None:
        """Prints what they have written, for whoever looks why a test failed."""
        for file in [*(each.log for each in self.every), self.nginx.log, self.nginx.errors]:
            written = file.read_text() if file.exists() else ""
            # pytest shows it
            print(f"--- {file.name}\n{written[-_SHOWN_CHARACTERS:]}")  # noqa: T201 - pytest shows it of what fails


@contextmanager
def running(
    folder: Path,
    provider: Provider,
    *,
    count: int = 2,
    redis: RedisServer | None = None,
    database_url: str | None = None,
    relayed: bool = False,
    started: bool = True,
    **settings: str,
) -> Generator[Instances]:
    """Inside, they run."""
    with ExitStack() as stack:
        if database_url is None:
            database_url = postgres.migrated_url()
            stack.callback(postgres.give_back, database_url)
        (folder / "models.json").write_text(dumps(_models(provider)))
        redis_url = (redis or redis_server.shared()).url
        common = _environment(folder, database_url, redis_url) | settings
        relays: dict[str, list[FaultRelay]] = {"redis": [], "database": []}
        every: list[Instance] = []
        for number in range(count):
            own = {"RUNS_DIR": str(folder / f"runs{number}")}
            if relayed:
                for name, variable in (("redis", "REDIS_URL"), ("database", "DATABASE_URL")):
                    relay = stack.enter_context(FaultRelay(urlsplit(common[variable]).port or 0))
                    relays[name].append(relay)
                    own[variable] = _through(relay, common[variable])
            instance = Instance(folder, f"instance{number}", common | own)
            stack.callback(instance.remove)
            every.append(instance)
        nginx = Nginx(folder / "nginx", [instance.port for instance in every])
        instances = Instances(every, nginx, relays, stack)
        stack.callback(instances.tell)
        stack.enter_context(nginx)
        if started:
            instances.start()
        yield instances


def _through(relay: FaultRelay, url: str) -> str:
    return url.replace(f":{urlsplit(url).port}/", f":{relay.port}/")


def _models(provider: Provider) -> dict[str, Any]:
    aliases: dict[str, dict[str, Any]] = {
        f"chat/{model}": {"provider": "openai", "model": model, "base_url": provider.url}
        for model in ("test", "gated")
    }
    aliases["chat/prefilled"] = aliases["chat/gated"] | {"prefill": True}
    return {"default": "chat/test", "aliases": aliases}


def _environment(folder: Path, database_url: str, redis_url: str) -> dict[str, str]:
    code = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return code | {
        "PYTHONUNBUFFERED": "1",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "REDIS_KEY_PREFIX": f"test-{uuid.uuid4().hex}",
        "DATA_DIR": str(folder / "data"),
        "MODELS_FILE": str(folder / "models.json"),
        "JWT_SECRET": _SECRET,
        "ADMIN_PASSWORD": ADMIN_PASSWORD,
        "FORWARDED_ALLOW_IPS": "127.0.0.1",
        "STARTUP_CHECK": "off",
        "CHECKPOINT_SECONDS": "0.05",
        "LEASE_SECONDS": "0.5",
        "REVOCATION_CHECK_SECONDS": "0.1",
        "RATE_LIMIT_MESSAGES_PER_MINUTE": "10000",
        "LOGIN_ATTEMPTS_PER_MINUTE": "10000",
        "LOGIN_ATTEMPTS_PER_MINUTE_PER_ADDRESS": "10000",
        "WEBSOCKET_MAX_CONNECTIONS": "10000",
        "WEBSOCKET_MAX_CONNECTIONS_PER_USER": "10000",
    }
