"""The one error that a user can mend."""


class InputError(ValueError):
    """Bad input or usage: one line that names the file, key or option, the rule and the value.

    The command line prints it as ``Error: ...`` without a traceback and ends with exit code 2.
    """
