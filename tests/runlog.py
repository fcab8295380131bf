"""Reading the run log of a server: the one run that its folder holds."""

import json
from pathlib import Path

from serving import LiveServer
from standing import Json
from waiting import until


def run_folder(server: LiveServer) -> Path:
    """`RUNS_DIR/<run_id>`, once it is there."""
    runs = server.settings.runs_dir
    until(lambda: runs.is_dir() and list(runs.glob("*/interactions.jsonl")))
    [folder] = runs.iterdir()
    return folder


def manifest_of(server: LiveServer) -> Json:
    return json.loads((run_folder(server) / "manifest.json").read_text())


def interactions(server: LiveServer, number: int) -> list[Json]:
    """All lines, once there are so many."""
    file = run_folder(server) / "interactions.jsonl"
    until(lambda: file.read_bytes().count(b"\n") >= number)
    return [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]
