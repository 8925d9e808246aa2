"""The errors that end a run. Each message says what was wrong, where, and what to do next."""


class InputError(ValueError):
    """The input of a run cannot be used, and nothing was written. Raise it, or a subclass, from your source."""


class SettingsError(InputError):
    """A setting has an invalid value, or a variable looks like a misspelt setting."""


class FlowsError(SettingsError):
    """A module of flows cannot be imported, or two flows have the same name."""


class RunFailedError(Exception):
    """A run is incomplete. What it did is kept, and a new run does the rest."""

    def __init__(self, message: str = "", safe: str = "") -> None:
        """Set the message, and the reason that an alert may show: one line, without values of records."""
        super().__init__(message)
        self.safe = safe


class ChunksFailedError(RunFailedError):
    """Some chunks failed. The others are done."""


class ResultsNotStoredError(RunFailedError):
    """All chunks are done, but the results of some could not be stored."""


class TooManyRejectsError(RunFailedError):
    """More records were rejected than the setting `max_rejected` allows, or all. The others are loaded."""


class RejectsElsewhereError(RunFailedError):
    """All chunks are done, but rejected records are on the disks of other machines."""


class EffectsNotDeliveredError(RunFailedError):
    """Effects of the job are left, or were refused. The rows that they belong to are written."""


INSTALL = "install what pyproject.toml says: rm .venv/.ready, and make setup"
"""What to do about packages."""


def reason(error: Exception) -> str:
    """Return why something failed, as one line: of an error of SQLAlchemy, what its driver says.

    Of a missing package, also what to do.
    """
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name} is missing; {INSTALL}"
    return one_line(getattr(error, "orig", None) or error)


def safe_reason(error: BaseException) -> str:
    """Return why something failed, as one line without values of records: at least the name of the error's class."""
    return vars(error).get("safe") or type(error).__name__


def one_line(error: object) -> str:
    """Return an error's message as one line, or the name of its class if the message is empty."""
    return " ".join(str(error).split()) or type(error).__name__
