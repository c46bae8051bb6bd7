"""The exception for every mistake of a user."""

__all__ = ["InputError"]


class InputError(ValueError):
    """An argument, a tensor, a file or a configuration that cannot be used.

    The message is one sentence that names the value and says what to do instead. The command line
    prints it and exits with status 2.
    """
