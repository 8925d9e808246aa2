"""Masking of database errors: one line without row values, in logs, states, artifacts and the terminal.

SQLAlchemy adds the statement to an error, and drivers quote the values that violate a constraint. Prefect would log
them and store them on its server.
"""

import re
from collections.abc import Callable

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, StatementError


def mask_errors(engine: Engine, message: Callable[[BaseException], str]) -> None:
    """Reduce the errors of an engine to one line, without statement and values.

    Args:
        engine: the engine whose errors are masked.
        message: returns the text of a driver's error, without row values.
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
        if isinstance(error, DBAPIError):
            # For alerts: see `errors.safe_reason`.
            vars(error)["safe"] = f"{type(cause).__name__}: {said}"


def masked(text: str) -> str:
    """Replace quoted text, and numbers after the word `value`, with an ellipsis."""
    return re.sub(r"\".*\"|'.*'|(?<=\bvalue )-?\d[\d.]*", "…", text, flags=re.DOTALL)
