"""Whether two questions are the same: what is asked counts, not how the answer is delivered."""

import hashlib
import json
from dataclasses import asdict

from runnel.chat.entities import Ask, SessionRef


def fingerprint(ask: Ask) -> str:
    """SHA-256, in hex, of what was asked, as the client put it.

    Of the session only whether one was named: its name and its id mean the same.
    """
    asked = {
        "text": ask.text,
        "history": None if ask.history is None else [asdict(turn) for turn in ask.history],
        "session": ask.session != SessionRef(),
        "model": ask.model,
        "params": asdict(ask.params),
    }
    # Only where they are: of a plain question nothing else is told than ever was.
    grown = {
        "regenerates": ask.regenerates,
        "edits": ask.edits,
        "attachments": ask.attachments and list(ask.attachments),
    }
    asked |= {name: value for name, value in grown.items() if value is not None}
    canonical = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
