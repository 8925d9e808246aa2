"""The errors that end a run. Each message says what was wrong, where, and what to do next."""


class InputError(ValueError):
    """The input of a run cannot be used; nothing was written. Raise it, or a subclass, from your source."""


class SettingsError(InputError):
    """A setting has a wrong value, a variable looks like a setting and is none, or two flows have one name."""


class RunFailedError(Exception):
    """A run did not do all that it was to do. What it did is kept, and a new run does the rest."""


class ChunksFailedError(RunFailedError):
    """Some chunks failed. The others are done."""


class ResultsNotStoredError(RunFailedError):
    """All chunks are done, but the results of some could not be stored."""


class TooManyRejectsError(RunFailedError):
    """More of the records were rejected than the setting `max_rejected` allows, or all. The others are loaded."""


class RejectsElsewhereError(RunFailedError):
    """All chunks are done, but rejected records were set aside on disks of other machines."""


class EffectsNotDeliveredError(RunFailedError):
    """Effects of the job are left, or were refused. The rows that they belong to are written."""


def one_line(error: object) -> str:
    """Return what an error says as one line, or the name of its class where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
