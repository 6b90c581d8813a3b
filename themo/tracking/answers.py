"""Classifies MLflow's errors: permanent rejection, or temporary failure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from themo.errors import InputError
from themo.tracking.uri import reason_without_password

T = TypeVar("T")

_MAY_PASS = (401, 403, 408, 429)
"""HTTP status codes of temporary failures: authentication, time-out and rate limit."""


class RejectedError(Exception):
    """MLflow rejects this part of a run permanently."""


class UnreachableError(Exception):
    """MLflow is unreachable or fails; a retry may succeed."""


def ask(uri: str, call: Callable[[], T]) -> T:
    """Call a server or database; translate its errors.

    A server's own answers are JSON that names its error (`mlflow.utils.rest_utils`). All other responses,
    such as a proxy's, become an `MlflowException` with the error of their status: a retry may succeed.

    Args:
        uri: Server or database.
        call: Sends the request.

    Raises:
        RejectedError: MLflow rejects the request permanently.
        UnreachableError: MLflow is unreachable or fails.
    """
    from mlflow.exceptions import MlflowException, RestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return call()
    except (RejectedError, UnreachableError):
        raise
    except MlflowException as error:
        status = error.get_http_status_code()
        is_of_server = isinstance(error, RestException) or not uri.startswith("http")
        if is_of_server and 400 <= status < 500 and status not in _MAY_PASS:
            raise RejectedError(reason_without_password(uri, error)) from error
        raise UnreachableError(reason_without_password(uri, error)) from error
    except (SQLAlchemyError, OSError, InputError) as error:
        raise UnreachableError(reason_without_password(uri, error)) from error
    except Exception as error:  # tracking must never end a run, whatever a server answers
        raise RejectedError(reason_without_password(uri, error)) from error
