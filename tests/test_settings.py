"""Settings: what is understood, and what is said of what is not."""

import os
from pathlib import Path

import pytest

from runnel.errors import StartupError
from runnel.settings import load_settings


def load(monkeypatch: pytest.MonkeyPatch, **environment: str) -> object:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings(dotenv=None)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PORT": "http"}, "PORT: "),
        ({"PORT": "99999"}, "PORT: "),
        ({"JWT_SECRET": "short"}, "JWT_SECRET: has fewer than 32 bytes"),
        ({"ENVIRONMENT": "staging"}, "ENVIRONMENT: "),
        ({"ENVIRONMENT": "production"}, "JWT_SECRET is needed in production"),
        (
            {"ENVIRONMENT": "production", "JWT_SECRET": "x" * 32, "ANONYMOUS_ACCESS": "true"},
            "ANONYMOUS_ACCESS=true is for development only",
        ),
        ({"RATE_LIMIT_MESSAGES_PER_MINUTE": "0"}, "RATE_LIMIT_MESSAGES_PER_MINUTE: "),
        ({"ROOT_PATH": "chat"}, "ROOT_PATH: begins with a slash"),
    ],
)
def test_a_wrong_value_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    with pytest.raises(StartupError) as wrong:
        load(monkeypatch, **environment)
    assert said in str(wrong.value)
    assert "short" not in str(wrong.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u:secret@h/d", "names a SQLite file"),
        ("postgresql+psycopg://u:secret@h/d", "names a SQLite file"),
        ("sqlite://", "names a SQLite file"),
        ("sqlite:///:memory:", "names a SQLite file"),
        ("nonsense", "names a SQLite file"),
        ("postgresql://u:secret@h", "names no database"),
        ("postgresql://u:secret@h:port/d", "has a host or a port that is none"),
        ("postgresql://u:secret[@h/d", "has a host or a port that is none"),
        ("postgresql://u:secret@h/d?sslmode=maybe", "has an sslmode that is none of disable,"),
    ],
)
def test_a_database_that_cannot_be_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str, said: str
) -> None:
    with pytest.raises(StartupError, match=f"DATABASE_URL: {said}") as wrong:
        load(monkeypatch, DATABASE_URL=url)
    assert "secret" not in str(wrong.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("u:p%40ss@h:5433/d", "u:p%40ss@h:5433/d"),
        ("u:p@ss@h/d", "u:p@ss@h/d"),
        ("/d?host=/run/postgresql", "/d?host=%2Frun%2Fpostgresql"),
        ("h/d?sslmode=verify-full", "h/d?sslmode=verify-full"),
        ("h/d?ssl=disable", "h/d?sslmode=disable"),
    ],
)
def test_postgres_is_understood_as_people_write_it(
    monkeypatch: pytest.MonkeyPatch, scheme: str, given: str, understood: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{scheme}://{given}")
    url = load_settings(dotenv=None).database_url
    assert url == f"postgresql+asyncpg://{understood}"


def test_every_fault_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StartupError) as wrong:
        load(monkeypatch, PORT="x", REGISTRATION="maybe")
    named = [line.partition(":")[0] for line in str(wrong.value).splitlines()]
    assert sorted(named) == ["PORT", "REGISTRATION"]


def test_empty_values_are_as_if_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    monkeypatch.setenv("ADMIN_PASSWORD", "")
    settings = load_settings(dotenv=None)
    assert (settings.port, settings.admin_password) == (8000, None)


@pytest.mark.parametrize("url", ["sqlite:///x.db", "sqlite+aiosqlite:///x.db"])
def test_plain_sqlite_is_understood(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert load_settings(dotenv=None).database_url == "sqlite+aiosqlite:///x.db"


def test_what_stands_in_dotenv_reaches_the_environment_but_does_not_override_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=1234\nSOME_PROVIDERS_KEY=k\nHOST=10.0.0.1\n")
    monkeypatch.setenv("HOST", "127.0.0.9")
    # So that what load_settings puts into the environment goes with the test.
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("SOME_PROVIDERS_KEY", "x")
    monkeypatch.delenv("PORT")
    monkeypatch.delenv("SOME_PROVIDERS_KEY")
    settings = load_settings(file)
    assert (settings.port, settings.host) == (1234, "127.0.0.9")
    assert os.environ["SOME_PROVIDERS_KEY"] == "k"


def test_origins_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "https://a.example, https://b.example/")
    assert load_settings(dotenv=None).cors_origins == ("https://a.example", "https://b.example")


def test_origins_are_kept_as_browsers_spell_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", "HTTPS://A.example:443/,http://b:80,http://c:8080,*,null")
    origins = ("https://a.example", "http://b", "http://c:8080", "*", "null")
    assert load_settings(dotenv=None).cors_origins == origins


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CORS_ORIGINS", "example.com"),
        ("CORS_ORIGINS", "https://a.example/path"),
        ("CORS_ORIGINS", "https://*.a.example"),
        ("CORS_ORIGINS", '["https://a.example"]'),
        ("FORWARDED_ALLOW_IPS", "nonsense"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1,*"),
        ("FORWARDED_ALLOW_IPS", "10.0.0.1/8"),
    ],
)
def test_what_would_never_match_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartupError, match=f"^{name}: are "):
        load_settings(dotenv=None)


@pytest.mark.parametrize("name", ["ACCESS_TOKEN_MINUTES", "REFRESH_TOKEN_DAYS"])
def test_no_login_lasts_longer_than_dates_do(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "99999999999")
    with pytest.raises(StartupError, match=f"^{name}: "):
        load_settings(dotenv=None)


@pytest.mark.parametrize("value", ["*", "10.0.0.1", " 10.0.0.0/8, ::1 ,fd00::/8", ""])
def test_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", value)
    assert load_settings(dotenv=None).forwarded_allow_ips == value.strip()


def test_the_example_file_names_settings_that_exist() -> None:
    example = Path(__file__).parents[1] / ".env.example"
    names = {
        line.lstrip("# ").partition("=")[0].lower()
        for line in example.read_text().splitlines()
        if "=" in line and line.lstrip("# ").partition("=")[0].isupper()
    }
    known = set(load_settings(dotenv=None).__class__.model_fields)
    assert names <= known, names - known
    assert known <= names, known - names
