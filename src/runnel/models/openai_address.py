"""Where a model of OpenAI's wire is asked, and with which headers, made ready once."""

from base64 import b64encode
from collections.abc import Mapping
from functools import cached_property
from typing import Final
from urllib.parse import unquote_to_bytes

import httpx2
from yarl import URL


class Address:
    """Its `url` is without the name and the word that it may hold: they are among the headers."""

    def __init__(self, url: httpx2.URL, headers: Mapping[str, str]) -> None:
        self._given = url
        self.headers: Final = dict(headers)
        if url.userinfo:  # stands above a key, as in the SDK; aiohttp wants it said in one place
            name, _, word = url.userinfo.partition(b":")
            both = unquote_to_bytes(name) + b":" + unquote_to_bytes(word)
            self.headers["Authorization"] = f"Basic {b64encode(both).decode()}"

    @cached_property
    def url(self) -> URL:
        return URL(str(self._given.copy_with(userinfo=b"")))

    def request(self) -> httpx2.Request:
        """What the SDK's errors want to be told; made for these alone, as that takes long."""
        return httpx2.Request("POST", self._given)
