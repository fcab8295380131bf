"""What must never be written anywhere, wherever it was set."""

import json
from pathlib import Path

import pytest

from runnel.secret_values import secrets_of
from serving import settings_for


def test_secrets_are_those_of_settings_of_aws_and_of_models_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_KEY", "of the team")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of aws")
    alias = {"provider": "openai", "model": "m", "api_key_env": "TEAM_KEY"}
    (tmp_path / "models.json").write_text(json.dumps({"aliases": {"a": alias}}))
    settings = settings_for(tmp_path, metrics_token="of metrics")
    assert {"of the team", "of aws", "of metrics"} <= set(secrets_of(settings))


def test_the_databases_password_is_one_however_it_is_spelt(tmp_path: Path) -> None:
    url = "postgresql://u:p%40ss@h/d?password=in%20the%20query"
    secrets = set(secrets_of(settings_for(tmp_path, database_url=url)))
    assert {"p%40ss", "p@ss", "in the query"} <= secrets


def test_a_models_json_that_cannot_be_read_is_told_by_others(tmp_path: Path) -> None:
    without = secrets_of(settings_for(tmp_path))
    (tmp_path / "models.json").write_text("{")
    assert secrets_of(settings_for(tmp_path)) == without
