"""Imports what takes seconds, once, and forks itself for every program that `python.py` asks for.

Arguments: the socket's path, and the process whose end is this one's. Nothing of Themo is imported here: a
program imports that itself, from the folders that its environment names. No thread runs here, and nothing is
computed, so that a fork is as good as an interpreter.
"""

import atexit
import builtins
import contextlib
import fcntl
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import types
import warnings
from pathlib import Path

import ray_workers  # the files beside this one
from python import FORWARDED, beginning, needs_interpreter

LIBRARIES = [
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "pyarrow.fs",
    "pyarrow.csv",
    "pydantic",
    "yaml",
    "filelock",
    "jinja2",
    "requests",
    "jsonschema",
    "psutil",
    "rich.console",
    "rich.table",
    "rich.progress",
    "google.protobuf.descriptor_pb2",
    "google.protobuf.json_format",
    "wcwidth",
    "torch",
    "torch._dynamo",
    "torchvision.transforms",
    "safetensors.torch",
    "tokenizers",
    "open_clip",
    "transformers.models.auto.modeling_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.bert.tokenization_bert",
    "mlflow.tracking",
    "mlflow.store.tracking.sqlalchemy_store",
    "sqlalchemy.dialects.sqlite",
    "alembic.command",
    "optuna.samplers",
    "cmaes",
    "scipy.optimize",
    "scipy.stats",
    "plotly.graph_objects",
]
"""Not Ray, whose C++ part reads its variables when it is imported, but what it imports."""


READ_AT_IMPORT = {
    ("huggingface_hub", "transformers", "open_clip", "timm"): (
        "HF_",
        "HUGGINGFACE_",
        "TRANSFORMERS_",
        "XDG_",
        "HOME",
    ),
    ("mlflow",): ("MLFLOW_",),
}
"""Libraries, and beginnings of the variables that they read when they are imported: they are imported again
where a program has others."""


def main(path, owner):
    """Serve until the owner's end; in a fork, return what it runs."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        if os.fork():  # who has started this one waits until others can ask
            os._exit(0)
        os.setsid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in LIBRARIES:
                importlib.import_module(name)
        children = {}
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while is_alive(owner):
            ready, _, _ = select.select([listener, read], [], [], 1.0)
            if read in ready:
                os.read(read, 4096)
                report_ends(children)
            if listener in ready:
                connection, _ = listener.accept()
                program = answer(connection, children)
                if program is not None:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for number in (read, write):
                        os.close(number)
                    for other in children.values():
                        other.close()
                    return program
    return None


def is_alive(pid):
    """Whether there is such a process."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def report_ends(children):
    """Tell those who wait for programs how they ended."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            connection = children.pop(pid)
            with contextlib.suppress(OSError):
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            connection.close()


def answer(connection, children):
    """Fork for one request. In the fork, return the program; here, None."""
    try:
        size, files, _, _ = socket.recv_fds(connection, 8, 4)
        body = connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
        request = json.loads(body)
    except (OSError, ValueError):
        connection.close()
        return None
    if needs_interpreter(request["environment"], os.environ):
        connection.sendall(b"0\n")
        pid = 0
    elif (pid := os.fork()) == 0:
        connection.close()
        return become(request, files)
    else:
        children[pid] = connection
        with contextlib.suppress(OSError):
            connection.sendall(f"{pid}\n".encode())
    for number in files:
        os.close(number)
    if not pid:
        connection.close()
    return None


def become(request, files):
    """Take over environment, folder and files of who asked; return the program."""
    os.setsid()
    *standard, lifeline = files
    die_with(lifeline)
    for number, file in enumerate(standard):
        os.dup2(file, number)
        os.close(file)
    unbuffered = "PYTHONUNBUFFERED" in request["environment"]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1 if unbuffered or os.isatty(1) else -1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    for number in FORWARDED:  # this server may have been started by a job whose Ctrl-C is ignored
        by_default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if number in request["ignored"] else by_default)
    for libraries, names in READ_AT_IMPORT.items():
        if beginning(request["environment"], names) != beginning(os.environ, names):
            for module in [name for name in sys.modules if name.partition(".")[0] in libraries]:
                del sys.modules[module]
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    paths = request["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(Path(path).absolute()) for path in paths if path]
    ray_workers.begin_by_python()
    return request["arguments"]


def die_with(lifeline):
    """Have this process killed when nobody holds the other end of a pipe any more."""
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, 10, signal.SIGKILL)  # F_SETSIG, which Python does not name
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        os._exit(1)


def execute(arguments):
    """Run what `python ARGUMENTS` would."""
    main_module = sys.modules["__main__"] = types.ModuleType("__main__")
    main_module.__dict__["__builtins__"] = builtins
    what, *rest = arguments
    if what == "-m":
        sys.argv = rest
        sys.path.insert(0, str(Path.cwd()))
        runpy._run_module_as_main(rest[0])
    elif what == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        exec(compile(rest[0], "<string>", "exec"), main_module.__dict__)  # noqa: S102
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(what).absolute().parent))
        main_module.__file__ = what
        exec(compile(Path(what).read_bytes(), what, "exec"), main_module.__dict__)  # noqa: S102


def run_to_the_end(arguments):
    """Run a program, and end as an interpreter does, but without taking all modules apart first."""
    code = 0
    try:
        execute(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)


if __name__ == "__main__":
    sys.path.pop(0)  # this folder
    program = main(sys.argv[1], int(sys.argv[2]))
    if program is None:
        os._exit(0)
    run_to_the_end(program)
