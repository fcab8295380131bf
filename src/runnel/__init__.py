"""Runnel: the self-hosted chat server for language models whose answers never break."""

from importlib.metadata import version

__version__ = version("runnel")
