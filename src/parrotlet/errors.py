"""The one error that means: the user can fix this."""


class UserError(ValueError):
    """Bad input. The message names the file, the row, what was found and what to do; the exit code is 2."""
