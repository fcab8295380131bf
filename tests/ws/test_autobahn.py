"""Autobahn|Testsuite's fuzzing client finds no fault in how WebSocket is spoken here."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from ws.echo import echo, options, serving

#: `make test` puts it there if it finds a Python 2.7 with pip. Debian has none since its release 12.
INSTALLED: Final = Path(__file__).parents[2] / ".venv" / "autobahn"
CASES: Final = 517
#: Compression, which is off.
UNIMPLEMENTED: Final = 216
#: The connection failed as it should, but before a message ahead of the fault was answered; or the
#: suite itself says that any behaviour will do.
PASSED: Final = {"OK", "NON-STRICT", "INFORMATIONAL"}
#: Cases of the chapter 9 send as much in a message. The bound is ours, not the protocol's; what is
#: over it has tests of its own.
LARGEST_MESSAGE: Final = 16 * 1024 * 1024


@pytest.fixture
def url() -> Iterator[str]:
    with serving(echo, options(websocket_max_frame_bytes=LARGEST_MESSAGE)) as there:
        yield there


@pytest.mark.skipif(
    not (INSTALLED / "bin" / "wstest").exists(),
    reason="Autobahn|Testsuite is not there: it runs under Python 2.7 only",
)
@pytest.mark.timeout(300)
def test_the_fuzzing_client_fails_no_case(url: str, tmp_path: Path) -> None:
    results = fuzzed(url, tmp_path)
    assert len(results) == CASES
    untried = {case for case, result in results.items() if result["behavior"] == "UNIMPLEMENTED"}
    assert len(untried) == UNIMPLEMENTED
    assert all(case.startswith(("12.", "13.")) for case in untried)
    told = {case: result for case, result in results.items() if case not in untried}
    # `behavior` is about the messages, `behaviorClose` about the closing handshake: also not
    # failed there are neither WRONG CODE nor UNCLEAN.
    failed = {
        case: result
        for case, result in told.items()
        if not {result["behavior"], result["behaviorClose"]} <= PASSED
    }
    assert not failed, Counter(result["behavior"] for result in told.values())


def fuzzed(url: str, folder: Path) -> dict[str, dict[str, Any]]:
    """What `wstest` reports of each case."""
    spec = folder / "spec.json"
    spec.write_text(
        json.dumps(
            {
                "outdir": str(folder / "report"),
                "servers": [{"agent": "runnel", "url": url}],
                "cases": ["*"],
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
        )
    )
    subprocess.run(
        [INSTALLED / "bin" / "wstest", "--mode", "fuzzingclient", "--spec", spec],
        env={"PATH": os.environ["PATH"], "PYTHONUSERBASE": str(INSTALLED)},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        timeout=280,
        check=True,
    )
    return json.loads((folder / "report" / "index.json").read_text())["runnel"]
