"""What the shell completes, and that whoever presses Tab or asks for help does not wait."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import RUNNEL, write_models

from processes import environment
from runnel.edge.cli import later

#: What takes long to import.
HEAVY = {"alembic", "boto3", "fastapi", "langchain_core", "openai", "sqlalchemy", "uvicorn"}


def completed(folder: Path, line: str, **changes: str) -> list[str]:
    """What bash would offer at the end of a command line."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = subprocess.run(
        [RUNNEL],
        env=environment(folder, _RUNNEL_COMPLETE="complete_bash", **words, **changes),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_calls_the_program(tmp_path: Path, shell: str) -> None:
    done = subprocess.run(
        [RUNNEL, "--show-completion", shell],
        env=environment(tmp_path, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"),
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert "runnel" in done.stdout
    assert f"_RUNNEL_COMPLETE=complete_{shell}" in done.stdout


def test_completion_installs_itself_below_the_home(tmp_path: Path) -> None:
    subprocess.run(
        [RUNNEL, "--install-completion", "bash"],
        env=environment(
            tmp_path, HOME=str(tmp_path), _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
        ),
        capture_output=True,
        timeout=50,
        check=True,
    )
    script = tmp_path / ".bash_completions" / "runnel.sh"
    assert "_RUNNEL_COMPLETE=complete_bash" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()


def test_commands_and_options_are_completed(tmp_path: Path) -> None:
    assert completed(tmp_path, "runnel ch") == ["chat", "check"]
    assert completed(tmp_path, "runnel users a") == ["add"]
    assert completed(tmp_path, "runnel chat --pro") == ["--prompt-file"]


def test_a_model_is_completed_to_the_aliases_of_the_file(tmp_path: Path) -> None:
    write_models(
        tmp_path,
        chat__small={"provider": "groq", "model": "m"},
        chat__half={"provider": "openai"},  # the file is still being written
        demo={"provider": "builtin"},
    )
    assert completed(tmp_path, "runnel chat --model ") == ["chat/small", "chat/half", "demo"]
    assert completed(tmp_path, "runnel chat --model chat/s") == ["chat/small"]


@pytest.mark.parametrize("file", [None, "{", "[]", '{"aliases": null}'])
def test_where_there_is_nothing_to_complete_nothing_is_said(
    tmp_path: Path, file: str | None
) -> None:
    if file is not None:
        (tmp_path / "models.json").write_text(file)
    assert completed(tmp_path, "runnel chat --model ") == []


@pytest.mark.parametrize(
    "code",
    [
        "import runnel.edge.cli.main",
        "from runnel.edge.cli.aliases import aliases; aliases('')",
        "from runnel.edge.cli.later import loaded; loaded('chat'), loaded('models')",
    ],
)
def test_nothing_heavy_is_imported_for_help_and_completion(code: str) -> None:
    script = f"import sys; {code}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=True
    )
    assert HEAVY & set(done.stdout.split()) == set()


@pytest.mark.parametrize("name", later.LATER)
def test_the_line_in_the_help_is_what_the_command_says_of_itself(name: str) -> None:
    assert later.loaded(name).help.splitlines()[0] == later.LATER[name].help
