"""The errors that a user's files and options cause, each with its exit code."""


class CdstatsError(Exception):
    """Something a user can mend; its text says where, what, and the way out."""

    exit_code = 1


class DataError(CdstatsError):
    """A file that cannot be used as it is."""


class UsageError(CdstatsError, ValueError):
    """An option, rule, preset or device that does not exist or does not fit."""

    exit_code = 2
