"""What the tests share: servers, stores and databases of their own, processes that can be killed, and a toy flow."""


class UnavailableError(Exception):
    """A server that the tests need cannot be had here. The message says what is missing."""


FLOWS = ("tests.support.toy", "tests.support.feed")
"""The flows of the tests. Whoever runs one knows them all: a database is created with the tables of all flows."""
