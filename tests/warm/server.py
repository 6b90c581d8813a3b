"""Imports what takes seconds, once, and forks itself for every program that `python.py` asks for.

Arguments: the socket's path, and the process whose end is this one's. Nothing of Themo is imported here: a
program imports that itself, from the folders that its environment names. No thread runs here, and nothing is
computed, so that a fork is as good as an interpreter.

Ray's own agents and monitors come from forks of this server that have imported Ray too, one for each setting
of the variables that Ray reads when it is imported. So do its workers: their variables name raylet and job.
Those that a raylet starts ahead of all jobs import Ray themselves: most of them run nothing.
"""

import atexit
import builtins
import contextlib
import fcntl
import gc
import hashlib
import importlib.util
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

import changes  # the files beside this one
from python import FORWARDED, WORKER, beginning, needs_interpreter

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
    "aiohttp.web",
    "aiohttp_cors",
    "colorful",
    "fsspec",
    "grpc.aio",
    "msgpack",
    "opencensus.stats.stats",
    "opentelemetry.exporter.prometheus",
    "opentelemetry.sdk.metrics",
]
"""Not Ray, whose C++ part reads its variables when it is imported, but what it imports."""

OF_RAY = [
    "ray._private.log_monitor",
    "ray._private.runtime_env.agent.main",
    "ray.autoscaler._private.monitor",
    "ray.dashboard.agent",
    "ray.dashboard.dashboard",
    "ray.dashboard.modules.job.job_agent",
    "ray.dashboard.modules.reporter.reporter_agent",
]
"""What agents and monitors import."""
OF_WORKERS = ["ray", "ray.tune"]
RAY_SETTINGS = ("RAY_", "TUNE_")
RAYLET, JOB, NO_JOB = "RAY_RAYLET_PID", "RAY_JOB_ID", "ffffffff"
OF_WORKERS_ALONE = {JOB, "RAY_NODE_ID", RAYLET}
"""Variables of one cluster that a worker reads when it imports Ray; an agent reads them when it starts."""
RAY = str(Path(importlib.util.find_spec("ray").origin).parent)

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
    """Serve until the owner's end; in a fork, return its program."""
    listener = listen(path)
    if os.fork():  # who has started this one waits until others can ask
        os._exit(0)
    os.setsid()
    load(LIBRARIES)
    return Server(path, listener, owner).serve()


def listen(path):
    """A socket at which programs are asked for."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    return listener


def load(modules):
    """Import these, for good: no fork looks for garbage among them, which would copy their pages."""
    gc.disable()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in modules:
            importlib.import_module(name)
    gc.freeze()


def load_ray(modules):
    """Import modules of Ray without a draw from its generator of ids.

    Forks would share the generator's state: the threads of two workers would put two objects under one id.
    Each class of actors draws an id when its module is imported.
    """
    import ray.actor

    ids = ray.actor.ActorClassID
    ray.actor.ActorClassID = types.SimpleNamespace(from_random=lambda: ids(os.urandom(ids.size())))
    load(modules)
    ray.actor.ActorClassID = ids


def is_alive(pid):
    """Whether there is such a process."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


class Server:
    """Forks itself for each request."""

    def __init__(self, path, listener, owner, *, has_ray=False, raylet=None):
        self.path = path
        self.listener = listener
        self.owner = owner
        self.has_ray = has_ray
        self.raylet = raylet  # whose workers this one forks
        self.with_ray = {}  # paths of servers that have Ray, by process
        self.children = {}  # connections to those who wait for the end of a process

    def serve(self):
        """Serve until the owner's end; in a fork, return its program."""
        self.pipe = ended, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while self.is_needed():
            ready, _, _ = select.select([self.listener, ended], [], [], 1.0)
            if ended in ready:
                os.read(ended, 4096)
                self.report_ends()
            if self.listener in ready:
                connection, _ = self.listener.accept()
                program = self.answer(connection)
                if program is not None:
                    return program
        return None

    def is_needed(self):
        """Whether the owner is there, and the raylet or a worker of it."""
        return is_alive(self.owner) and (self.raylet is None or is_alive(self.raylet) or self.children)

    def leave(self):
        """In a fork, close what is the server's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number in self.pipe:
            os.close(number)
        for other in (self.listener, *self.children.values()):
            other.close()

    def report_ends(self):
        """Tell those who wait for programs how they ended."""
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if path := self.with_ray.pop(pid, None):
                    Path(path).unlink()
                    continue
                connection = self.children.pop(pid)
                reply(connection, os.waitstatus_to_exitcode(status))
                connection.close()

    def answer(self, connection):
        """Fork for one request, or name the server that does. In a fork, return the program; here, None."""
        received = receive(connection)
        if received is None:
            connection.close()
            return None
        request, files = received
        elsewhere = self.elsewhere(request)
        if elsewhere is None and (pid := os.fork()) == 0:
            self.leave()
            connection.close()
            return become(request, files, Path(self.path).with_name("tables.db"))
        for number in files:
            os.close(number)
        if elsewhere is None:
            self.children[pid] = connection
            reply(connection, str(pid))
            return None
        program = self.begin_with_ray(elsewhere, request, connection)
        if program is None:
            reply(connection, elsewhere)
            connection.close()
        return program

    def elsewhere(self, request):
        """The path of the server that forks for a request, "0" where an interpreter runs it, or None."""
        environment = request["environment"]
        if needs_interpreter(environment, os.environ):
            return "0"
        script = request["arguments"][0]
        if self.has_ray or not script.startswith(RAY) or environment.get(JOB) == NO_JOB:
            return None
        settings = sorted(settings_of_ray(request).items())
        return f"{self.path}-{hashlib.sha256(repr(settings).encode()).hexdigest()[:8]}"

    def begin_with_ray(self, path, request, connection):
        """Fork a server that imports Ray, if there is none. In its forks, return the program; here, None."""
        if path == "0" or path in self.with_ray.values():
            return None
        listener = listen(path)
        if pid := os.fork():
            self.with_ray[pid] = path
            listener.close()
            return None
        self.leave()
        connection.close()
        for name in beginning(os.environ, RAY_SETTINGS):
            del os.environ[name]
        os.environ.update(settings_of_ray(request))
        if not is_worker(request):
            load_ray(OF_RAY)
            return Server(path, listener, self.owner, has_ray=True).serve()
        load_ray(OF_WORKERS)
        raylet = int(request["environment"][RAYLET])
        return Server(path, listener, self.owner, has_ray=True, raylet=raylet).serve()


def is_worker(request):
    """Whether a worker of Ray is asked for."""
    return request["arguments"][0].endswith(WORKER)


def settings_of_ray(request):
    """The variables that Ray reads when it is imported."""
    read = beginning(request["environment"], RAY_SETTINGS)
    return {name: read[name] for name in read if is_worker(request) or name not in OF_WORKERS_ALONE}


def receive(connection):
    """A request, and the files of who asks; None where it has gone."""
    try:
        size, files, _, _ = socket.recv_fds(connection, 8, 4)
        body = connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
        return json.loads(body), files
    except (OSError, ValueError):
        return None


def reply(connection, line):
    """Tell who asks."""
    with contextlib.suppress(OSError):
        connection.sendall(f"{line}\n".encode())


def become(request, files, tables):
    """Take over environment, folder and files of who asked; return the program.

    Databases of MLflow copy the file `tables`.
    """
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
    gc.enable()
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    paths = request["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [str(Path(path).absolute()) for path in paths if path]
    changes.begin_by_python()
    changes.keep_files_in_the_cache()
    changes.ease_databases(tables)
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
