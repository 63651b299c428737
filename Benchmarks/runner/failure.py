"""Errors that end the program with one line."""


class Failure(Exception):
    pass


class Unavailable(Failure):
    """The backend cannot run on this machine."""
