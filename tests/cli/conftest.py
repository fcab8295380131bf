"""A provider that also says which models it has, and commands run in the test's own process."""

import io
import logging
import sys
from collections.abc import Iterator
from subprocess import CompletedProcess

import pytest
from commands import Here, ListingProvider

from plain_logs import write_plainly
from runnel.edge.cli.main import main


@pytest.fixture
def provider() -> Iterator[ListingProvider]:
    with ListingProvider() as running:
        yield running


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """Runs `runnel` in the test's folder and process, where only its words and code matter."""

    def run(*arguments: str, given: bytes = b"", **changes: str) -> CompletedProcess[str]:
        capsys.readouterr()
        settings = {"MODELS_FILE": "models.json", "UPSTREAM_RETRIES": "0", "COLUMNS": "200"}
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", ["runnel", *arguments])
            patched.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
            for name, value in (settings | changes).items():
                patched.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main()
        said = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return CompletedProcess(arguments, code, said.out, said.err)

    yield run
    write_plainly()
    logging.getLogger().handlers.clear()
