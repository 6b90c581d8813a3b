"""The errors that a user can mend."""


class InputError(ValueError):
    """Bad input or usage: one line that names the file, key or option, the rule and the value.

    The command line prints it as ``Error: ...`` without a traceback and ends with exit code 2.
    """


class MissingInputError(InputError):
    """What a setting names is not there: it may be fetched."""


def reason_of(error: BaseException) -> str:
    """First line of an error's message, or its kind where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
