"""deploy/compose.yaml against what it names: settings, nginx's servers, the image, its example file."""

import re
from pathlib import Path
from typing import Any, Final

import yaml

from nginx import CONFIGURATION
from runnel.settings import Settings

DEPLOY: Final = Path(__file__).parents[1] / "deploy"
TEXT: Final = (DEPLOY / "compose.yaml").read_text()
COMPOSE: Final[dict[str, Any]] = yaml.safe_load(TEXT)
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
INSTANCES: Final = [name for name in SERVICES if name.startswith("app")]
#: What the compose file is given, and is no setting of ours.
_ITS_OWN: Final = {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "PUBLIC_PORT"}


def settings_of(name: str) -> dict[str, str]:
    given: dict[str, str] = SERVICES[name]["environment"]
    # `${NAME:?why}` and `${NAME:-default}`, filled in.
    return {
        key: re.sub(r"\$\{\w+(:[^}]*)?\}", "a-secret-of-more-than-32-characters", value)
        for key, value in given.items()
    }


def address(name: str) -> str:
    return SERVICES[name]["networks"]["default"]["ipv4_address"]


def test_all_that_instances_are_given_are_settings_and_good_ones() -> None:
    for name in INSTANCES:
        given = settings_of(name)
        assert {key.lower() for key in given} <= set(Settings.model_fields)
        settings = Settings(**{key.lower(): value for key, value in given.items()})  # pyright: ignore[reportArgumentType] - as the environment gives them
        assert settings.environment == "production"
        assert settings.forwarded_allow_ips == address("nginx")
        assert settings.shutdown_grace_seconds + 15 <= int(SERVICES[name]["stop_grace_period"][:-1])
        assert "data:/data" in SERVICES[name]["volumes"]


def test_the_example_names_whatever_has_to_be_filled_in() -> None:
    example = (DEPLOY / "env.example").read_text()
    named = set(re.findall(r"^#? ?([A-Z_]+)=", example, re.MULTILINE))
    assert set(re.findall(r"\$\{([A-Z_]+)", TEXT)) <= named
    assert {name.lower() for name in named - _ITS_OWN} <= set(Settings.model_fields)


def test_nginx_stands_before_the_instances() -> None:
    servers = re.findall(r"^\s+server (\w+):8000 ", CONFIGURATION.read_text(), re.MULTILINE)
    assert servers == INSTANCES
    hosts = [f"{name}:{address(name)}" for name in INSTANCES]
    assert SERVICES["nginx"]["extra_hosts"] == hosts
    assert len({address(name) for name in [*INSTANCES, "nginx"]}) == 3
    [listened] = re.findall(r"listen (\d+);", CONFIGURATION.read_text())
    [published] = SERVICES["nginx"]["ports"]
    assert published.endswith(f":{listened}")


def test_redis_keeps_what_it_has_and_refuses_what_it_cannot_keep() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_what_is_named_is_there() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        assert service["restart"] == "unless-stopped"
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            known = (DEPLOY / source).exists() if "/" in source else source in COMPOSE["volumes"]
            assert known, volume
