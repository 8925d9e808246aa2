"""Database errors without row values: one line each, in logs, states, artifacts and the terminal.

SQLAlchemy adds the statement to an error, and drivers quote the values that a constraint refuses. Prefect would log all
of that, and keep it on its server.
"""

import re
from collections.abc import Callable

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import StatementError


def mask_errors(engine: Engine, message: Callable[[BaseException], str]) -> None:
    """Cut the errors of an engine down to one line without statement and values.

    Args:
        engine: whose errors are cut.
        message: returns what an error of the driver says, without row values.
    """

    @event.listens_for(engine, "handle_error")
    def mask(context: ExceptionContext) -> None:
        error, cause = context.sqlalchemy_exception, context.original_exception
        if not isinstance(error, StatementError):
            return
        said = " ".join(message(cause).split())
        # A traceback shows the cause too.
        cause.args = (said,)
        error.args = (f"({type(cause).__module__}.{type(cause).__name__}) {said}",)
        error.statement = error.params = error.code = None


def masked(text: str) -> str:
    """Return a message with an ellipsis in place of what it quotes, and of numbers that it calls values."""
    return re.sub(r"\".*\"|'.*'|(?<=\bvalue )-?\d[\d.]*", "…", text, flags=re.DOTALL)
