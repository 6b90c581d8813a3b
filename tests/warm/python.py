"""`python`, begun from a process that has the heavy libraries already: `python -IS python.py [-u] ARGUMENTS`.

What runs is a process of its own, forked by `server.py` with these arguments, this environment, this working
directory and these files. This one remains: it passes signals on and ends as the other does, and the other is
killed where this one dies. Only where the environment has other variables of the interpreter's own, or there
is no server, a new interpreter runs the program.

Ray starts its workers by this file too (`warm.py`), with options of its own.
"""

import contextlib
import json
import os
import signal
import socket
import sys

READ_ONCE = ("LD_", "MALLOC_", "PYTHON")
"""Beginnings of the names of variables that an interpreter reads when it starts."""
READ_LATER = {"PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONBREAKPOINT"}
SERVER = "THEMO_TESTS_WARM"
TO_GROUP = "THEMO_TESTS_TO_GROUP"
"""A variable with which signals are passed on to the program's process group, as a terminal sends them."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
WORKER = "default_worker.py"
RAY_OPTIONS = ("--serialized-runtime-env-context", "--language")


def beginning(environment, names):
    """The variables whose names begin so."""
    return {name: value for name, value in environment.items() if name.startswith(names)}


def needs_interpreter(environment, of_server):
    """Whether an interpreter would start in another way with this environment than the server has."""
    ours, theirs = (beginning(e, READ_ONCE) for e in (environment, of_server))
    return any(ours.get(name) != theirs.get(name) for name in (ours.keys() | theirs.keys()) - READ_LATER)


def main(arguments):
    """Run a program and return how it ended: its exit code, or less than 0 by a signal."""
    environment = dict(os.environ)
    context = {}
    if any(argument.endswith(WORKER) for argument in arguments):
        options = dict(a.split("=", 1) for a in arguments if a.startswith(RAY_OPTIONS))
        arguments = [a for a in arguments if not a.startswith(RAY_OPTIONS)]
        context = json.loads(options.get(RAY_OPTIONS[0]) or "{}")
    environment |= {k: os.path.expandvars(v) for k, v in (context.get("env_vars") or {}).items()}
    if context.get("command_prefix") or (context.get("py_executable") or sys.executable) != sys.executable:
        raise SystemExit(f"no such environment for a worker in these tests: {context}")
    os.environ.update(environment)
    while arguments and arguments[0] == "-u":
        arguments.pop(0)
    try:
        return run(arguments, environment)
    except (OSError, KeyError):  # no server
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606


def run(arguments, environment):
    """Have it forked, and wait for its end."""
    send = os.killpg if environment.pop(TO_GROUP, None) else os.kill
    dies_with_us, _ours = os.pipe()
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    request = {
        "arguments": arguments,
        "environment": environment,
        "folder": os.getcwd(),  # noqa: PTH109 -- pathlib is a tenth of a second
        "ignored": [number for number in FORWARDED if signal.getsignal(number) == signal.SIG_IGN],
    }
    try:
        pid, answer = ask(environment.get(SERVER) or os.environ[SERVER], request, [0, 1, 2, dies_with_us])
    except (OSError, KeyError):
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        raise
    os.close(dies_with_us)

    def forward(number, _frame):
        with contextlib.suppress(ProcessLookupError):
            send(pid, number)

    for number in FORWARDED:
        signal.signal(number, forward)
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return int(answer.readline() or -signal.SIGKILL)


def ask(path, request, files):
    """Fork in a server, or one that it names; return the process, and the connection that reports its end."""
    body = json.dumps(request).encode()
    while path.startswith("/"):
        server = socket.socket(socket.AF_UNIX)
        server.connect(path)
        socket.send_fds(server, [len(body).to_bytes(8, "big")], files)
        server.sendall(body)
        answer = server.makefile("r")
        path = answer.readline().strip()
    if pid := int(path or 0):
        return pid, answer
    raise OSError("it must be started by an interpreter of its own")


if __name__ == "__main__":
    code = main(sys.argv[1:])
    if code < 0:
        with contextlib.suppress(OSError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
