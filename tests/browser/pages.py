"""A web server for the page, so that the page is of another origin than the chat server."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Self

NODE_MODULES: Final = Path(__file__).parents[1] / "js" / "node_modules"
_PAGE: Final = Path(__file__).parent / "page"
_NPM: Final = "/npm"


class Pages:
    """Serves the folder `page`, and the installed npm packages below /npm."""

    def __init__(self) -> None:
        handler = partial(_Handler, directory=str(_PAGE))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="pages")
        self.origin = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        assert not self._thread.is_alive(), "the server of the page did not stop"


class _Handler(SimpleHTTPRequestHandler):
    timeout = 5  # a browser opens connections in advance, and keeps them

    def translate_path(self, path: str) -> str:
        if not path.startswith(f"{_NPM}/"):
            return super().translate_path(path)
        self.directory = str(NODE_MODULES)
        file = super().translate_path(path.removeprefix(_NPM))
        # Modules made for bundlers leave the ending out.
        return file if file.endswith(".js") else f"{file}.js"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass
