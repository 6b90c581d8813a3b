"""MLflow's address: default, reachability, and the command that opens its page."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from urllib.parse import quote_plus, unquote_plus, urlsplit

from themo.errors import InputError, reason_of

URI_VARIABLE = "MLFLOW_TRACKING_URI"

_REACH_SECONDS = 4.0
_SQLITE = re.compile(r"sqlite(\+\w+)?:")
_PLAIN = re.compile(r"(sqlite:///)?([A-Za-z0-9_./-]+)")
"""Path or SQLite address without encoded characters, which is parsed without sqlalchemy."""
_SCHEME = re.compile(r"\s*([A-Za-z][\w+.-]*):")
_ADDRESS = re.compile(r"(\s*(?:[\w+.-]*:)?//)(?:([^:/]*(?::[^@]*)?)@)?(.*)", re.DOTALL)
"""Scheme, user info and rest of an address, as sqlalchemy's ``make_url`` divides it.

A raw ``/``, ``?`` or ``#`` may be part of a database's password.
"""
_HOST = re.compile(r"(?:\[[^\]/?@]+\]|[^\[\]/:?@]*)(?::[0-9]*)?(?=[/?#]|$)")
_BARE_USER = re.compile(r"[^:/]+:(?!/)[^@]*@")
"""User info of an address without a scheme."""
_SECRET_KEY = re.compile(r"passw|passphrase|pwd|secret|token|^pass$", re.IGNORECASE)
_ODBC_PASSWORD = re.compile(
    r"(?:^|(?<=;))\s*(?:pwd|password)\s*=\s*(?:\{(?:[^}]|\}\})*\}|[^;]*);?", re.IGNORECASE
)
_WITH_HOST = re.compile(r"(https?|postgresql|mysql|mssql|sqlite)(\+\w+)?")
"""Schemes of addresses with a host and a port: a server's and those of MLflow's databases."""


def tracking_uri(logs_dir: Path) -> str:
    """Return the address of ``MLFLOW_TRACKING_URI``, or ``<logs_dir>/mlflow.db``; files are absolute.

    Raises:
        InputError: The address of the variable cannot be parsed.
    """
    if uri := os.environ.get(URI_VARIABLE):
        _check_parts(uri)
    else:
        uri = default_uri(logs_dir)
    file = sqlite_file(uri)
    if file is None or file.is_absolute() or "?" in uri:
        return uri
    return sqlite_uri(file.resolve())


def _check_parts(uri: str) -> None:
    """Refuse an address that MLflow or sqlalchemy cannot parse, or whose password ends at another ``@``.

    Raises:
        InputError: The message holds no part of the address, since any may be of the password.
    """
    try:
        urlsplit(uri)  # by MLflow, for the scheme
        _, user, rest = _divided(uri)
        scheme = _scheme(uri)
        is_valid = bool(_HOST.match(rest)) or not _WITH_HOST.fullmatch(scheme)
        if scheme in ("http", "https"):
            is_valid = is_valid and "@" not in rest and not (user and re.search("[/?#]", user))
        elif user is not None:
            is_valid = is_valid and "@" not in rest.partition("?")[0]
    except ValueError:
        is_valid = False
    if not is_valid:
        raise InputError(
            f"{URI_VARIABLE}: must be a valid address (not printed, since it may hold a password): in a "
            f"user or password, percent-encode the characters / ? # [ ] @ :, such as %2F for /"
        )


def default_uri(logs_dir: Path) -> str:
    """The database beside the logs."""
    return sqlite_uri(logs_dir.resolve() / "mlflow.db")


def sqlite_uri(file: Path) -> str:
    """Return the address of a SQLite database at any path.

    Where an address begins with ``sqlite:///``, MLflow (3.17) makes the folder without decoding its name: an
    empty ``a%3Fb`` beside ``a?b``. It makes none where the address names the driver too.

    Raises:
        InputError: The path is not UTF-8, as the address and SQLite require.
    """
    if _PLAIN.fullmatch(str(file)):
        return f"sqlite:///{file}"
    try:
        str(file).encode()
    except UnicodeEncodeError:
        name = os.fsencode(file).decode(errors="replace")
        rule = "the path of MLflow's database must be UTF-8 (a locale without it: set LC_ALL=C.UTF-8)"
        raise InputError(f"{name}: {rule}; or name a server by {URI_VARIABLE}") from None
    from sqlalchemy import URL  # a tenth of a second

    url = URL.create("sqlite", database=str(file))
    if "%" in str(url):
        url = url.set(drivername="sqlite+pysqlite")
    return str(url)


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite database; None for a server, a database in memory, or no address."""
    if not _SQLITE.match(uri):
        return None
    if plain := _PLAIN.fullmatch(uri):
        return Path(plain[2])
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        name = make_url(uri).database
    except (ArgumentError, ValueError):  # ValueError: of the port
        return None
    if not name or name == ":memory:" or name.startswith("file:"):  # file: an address of SQLite's own
        return None
    return Path(name)


def is_same_place(uri: str, other: str) -> bool:
    """Whether two addresses are equal, ignoring user and password."""
    file = sqlite_file(uri)
    if file is not None and file == sqlite_file(other):
        return True
    return without_password(uri).rstrip("/") == without_password(other).rstrip("/")


def ui_command(uri: str) -> str:
    """Command or address that shows the runs."""
    if _scheme(uri) in ("http", "https"):
        return f"open {without_password(uri)}"
    if without_password(uri) != uri:
        return f'mlflow ui --backend-store-uri "${URI_VARIABLE}"'
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


def check_reachable(uri: str) -> None:
    """Refuse an unreachable address within five seconds.

    Raises:
        InputError: No server answers, or the kind of address is unknown.
    """
    scheme = _scheme(uri)
    if scheme in ("http", "https"):
        import http.client  # with ssl, for those that ask a server alone
        import urllib.error
        import urllib.request

        health = without_password(uri).rstrip("/") + "/health"
        try:
            with urllib.request.urlopen(health, timeout=_REACH_SECONDS):  # noqa: S310
                return
        except urllib.error.HTTPError as error:
            if error.code < 500:  # a server before MLflow, such as one that asks for a password
                return
            reason = f"HTTP status {error.code}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = reason_of(error) if not hasattr(error, "reason") else str(error.reason)
        asked_by = f"{URI_VARIABLE}: " if os.environ.get(URI_VARIABLE) else ""  # else a folder's record
        raise InputError(f"{asked_by}no MLflow server answers at {without_password(uri)}: {reason}")
    if scheme in ("", "file"):
        raise InputError(
            f"{URI_VARIABLE}: must be a server (http://...) or a database (sqlite:////...), "
            f"got {without_password(uri)!r}"
        )
    file = sqlite_file(uri)
    if file is not None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            setting = URI_VARIABLE if os.environ.get(URI_VARIABLE) else "--logs-dir"
            raise InputError(f"{setting}: {uri} cannot be written: {error.strerror}") from None


_REQUEST = "API request to "
"""Begins MLflow's message of a failed request, followed by 300 characters of each layer below."""


def reason_without_password(uri: str, error: BaseException) -> str:
    """Return the reason of an error at an address, without the address's user and password.

    For a request without a response, it is the first cause, such as ``Connection refused``.
    """
    is_of_request = str(error).startswith(_REQUEST)
    while is_of_request and (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    reason = reason_of(error).replace(uri.rstrip("/"), without_password(uri).rstrip("/"))
    user = _divided(uri)[1]
    return reason.replace(f"{user}@", "") if user else reason


def without_password(uri: str) -> str:
    """Return an address without user and password, for screens and files.

    Parameters of the query that hold a password, such as ``sslpassword``, are left out, and ``PWD`` of
    ``odbc_connect``. The rest is unchanged.
    """
    start, user, rest = _divided(uri)
    place, mark, query = rest.partition("?")
    if user is not None:  # a password with a raw "@" ends at the last one
        place = place.rpartition("@")[2]
    if mark:
        query = "&".join(kept for part in query.split("&") if (kept := _without_secret(part)) is not None)
    return f"{start}{place}{mark if query else ''}{query}"


def _without_secret(parameter: str) -> str | None:
    """Return a parameter of a query, ``name=value``, without its password; None if it is one."""
    name, _, value = parameter.partition("=")
    name = unquote_plus(name).strip()
    if _SECRET_KEY.search(name):
        return None
    if name.lower() == "odbc_connect":
        plain = unquote_plus(value)
        clean = _ODBC_PASSWORD.sub("", plain)
        return parameter if clean == plain else f"{name}={quote_plus(clean)}"
    return parameter


def _divided(uri: str) -> tuple[str, str | None, str]:
    """Divide an address into scheme with ``://``, user info (None: it has none) and rest."""
    if parts := _ADDRESS.fullmatch(uri):
        return parts[1], parts[2], parts[3]
    if user := _BARE_USER.match(uri):
        return "", user[0][:-1], uri[user.end() :]
    return "", None, uri


def _scheme(uri: str) -> str:
    """Return the scheme of an address in lower case; empty for a path."""
    found = _SCHEME.match(uri)
    return found[1].lower() if found else ""
