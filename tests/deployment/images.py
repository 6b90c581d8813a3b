"""Substitutes for the images of docker-compose.yml: the Dockerfile's instructions, Debian's PostgreSQL."""

from __future__ import annotations

import pwd
import re
import sys
from pathlib import Path

from namespaces import Image

REPOSITORY = Path(__file__).parents[2]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_HOME = """
grep -q ^themo: /etc/passwd || echo themo:x:{user}:{group}::/home/themo:/bin/sh >> /etc/passwd
mkdir -p /home/themo
chown {user}:{group} /home/themo
"""

_POSTGRES = """
as="setpriv --reuid={user} --regid={group} --clear-groups"
mkdir -p /run/postgresql
chown {user}:{group} /run/postgresql $PGDATA
chmod 0700 $PGDATA
if [ ! -s $PGDATA/PG_VERSION ]; then
    cd /
    $as initdb --username=$POSTGRES_USER --pwfile=$POSTGRES_PASSWORD_FILE $POSTGRES_INITDB_ARGS
    echo "host all all all scram-sha-256" >> $PGDATA/pg_hba.conf
    echo "listen_addresses = '*'" >> $PGDATA/postgresql.conf
    $as pg_ctl --wait --options="-c listen_addresses=''" start
    $as createdb --username=$POSTGRES_USER $POSTGRES_DB
    $as pg_ctl --wait stop
fi
"""
"""The entry point of the official image."""


def themo() -> Image:
    """The Dockerfile's user, folder and variables, over the environment that the tests run in."""
    instructions = re.findall(
        r"^(USER|WORKDIR|ENV) ((?:.*\\\n)*.*)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE
    )
    user, group = [value.split(":") for name, value in instructions if name == "USER"][-1]
    workdir = [value for name, value in instructions if name == "WORKDIR"][-1]
    words = " ".join(value.replace("\\\n", " ") for name, value in instructions if name == "ENV").split()
    environment = dict(word.split("=", 1) for word in words)
    environment["PATH"] = f"{Path(sys.prefix) / 'bin'}:{_PATH}"
    return Image(
        (int(user), int(group)),
        workdir,
        environment | {"HOME": "/home/themo"},
        _HOME.format(user=user, group=group),
    )


def postgres() -> Image | None:
    """Debian's PostgreSQL; None where it is not installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not folders:
        return None
    try:
        account = pwd.getpwnam("postgres")
    except KeyError:
        account = pwd.getpwnam("nobody")
    return Image(
        (account.pw_uid, account.pw_gid),
        "/",
        {"PATH": f"{folders[-1].parent}:{_PATH}", "PGDATA": "/var/lib/postgresql/data", "LANG": "C.UTF-8"},
        _POSTGRES.format(user=account.pw_uid, group=account.pw_gid),
    )
