"""Thin routers: parse, call one method, answer."""
