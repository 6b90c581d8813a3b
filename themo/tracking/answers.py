"""What answers of MLflow mean: a rejection for good, or a failure that may pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from themo.errors import InputError
from themo.tracking.uri import reason_without_password

T = TypeVar("T")

_MAY_PASS = (401, 403, 408, 429)
"""HTTP status: the client may be let in later, or there may be time for it."""


class RejectedError(Exception):
    """MLflow answers, and will never take this part of a run."""


class UnreachableError(Exception):
    """MLflow does not answer, or is in trouble: later it may take this part of a run."""


def ask(uri: str, call: Callable[[], T]) -> T:
    """Ask a server or database something.

    A server's own answers are JSON that names its error (`mlflow.utils.rest_utils`). All other answers, as of
    a proxy, become an `MlflowException` with the error that fits their status: those may pass.

    Args:
        uri: Server or database.
        call: Asks it.

    Raises:
        RejectedError: It will never take this.
        UnreachableError: It does not answer, or is in trouble.
    """
    from mlflow.exceptions import MlflowException, RestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return call()
    except (RejectedError, UnreachableError):
        raise
    except MlflowException as error:
        status = error.get_http_status_code()
        is_its_own = isinstance(error, RestException) or not uri.startswith("http")
        if is_its_own and 400 <= status < 500 and status not in _MAY_PASS:
            raise RejectedError(reason_without_password(uri, error)) from error
        raise UnreachableError(reason_without_password(uri, error)) from error
    except (SQLAlchemyError, OSError, InputError) as error:
        raise UnreachableError(reason_without_password(uri, error)) from error
    except Exception as error:  # tracking must never end a run, whatever a server answers
        raise RejectedError(reason_without_password(uri, error)) from error
