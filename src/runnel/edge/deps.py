"""What endpoints ask for in their signatures."""

from typing import Annotated, Any, Final

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer, OAuth2PasswordBearer

from runnel.accounts.entities import Identity
from runnel.edge.parts import Parts, parts_of

# The route itself signs in (edge/route.py), before the body is read. These two only tell OpenAPI,
# and with it the Authorize button of /docs, how.
_password = OAuth2PasswordBearer(tokenUrl="token", auto_error=False, scheme_name="Password")
_bearer = HTTPBearer(auto_error=False, scheme_name="Bearer", description="A JWT or an API key.")


def caller_of(request: Request) -> Identity:
    """Who was signed in by the route."""
    identity = request.state.identity
    assert isinstance(identity, Identity)
    return identity


# Both are `async`, and wait for nothing: what is not, FastAPI hands to a thread at every request.
async def _identity(request: Request) -> Identity:
    return caller_of(request)


async def _parts(request: Request) -> Parts:
    return parts_of(request)


AppParts = Annotated[Parts, Depends(_parts)]
Caller = Annotated[Identity, Depends(_identity)]
SIGNED_IN = (Security(_password), Security(_bearer))
#: The same for routes that are asked often, as their `openapi_extra`: each dependency is solved at
#: every request, which takes longer than to parse the body. Other routes declare the schemes.
SAYS_SIGNED_IN: Final[dict[str, Any]] = {"security": [{"Password": []}, {"Bearer": []}]}
