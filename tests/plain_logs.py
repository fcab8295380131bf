"""How structlog writes in tests where nothing has set it up."""

import structlog


def write_plainly() -> None:
    """As by default, but a traceback without all its variables: to draw those takes seconds, in
    which a server in the test's process answers nobody.
    """
    structlog.reset_defaults()
    *before, _ = structlog.get_config()["processors"]
    last = structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(processors=[*before, last])
