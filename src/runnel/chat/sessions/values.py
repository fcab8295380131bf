"""What a session is set to, and who made it: small values that questions carry too."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What the next answers of a session obey. `language` is a BCP 47 tag, as `pt-BR`.

    `stream_responses`: over WebSockets, answers come as they are made.
    """

    model_preference: str | None = None
    language: str | None = None
    stream_responses: bool = True
    system_prompt: str | None = None


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """The program that began a session, as far as it told."""

    user_agent: str | None = None
    ip_address: str | None = None
    client_version: str | None = None


#: How a session is set that nobody has set.
AS_USUAL: Final = SessionSettings()
#: A program that told nothing of itself.
NOBODY_KNOWN: Final = ClientInfo()
