"""Changes to libraries, made when they are imported: what takes them seconds is done once for all tests.

Ray starts the Python processes of a cluster by `python.py`. MLflow copies the tables of a new database, and
does not wait for the disk.
"""

import fcntl
import importlib.util
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

_PYTHON = str(Path(__file__).with_name("python.py"))


def begin_by_python():
    """Have a cluster that this process starts begin its Python processes by `python.py`."""
    _when_imported("ray._private.ray_constants", _change_workers)
    _when_imported("ray._private.services", _change_services)


def ease_databases(tables):
    """Have MLflow make its tables once, by all its migrations, and copy them from a file afterwards.

    Its commits do not wait for the disk.
    """

    def change(module):
        _change_tables(module, Path(tables))
        _change_commits(module)

    _when_imported("mlflow.store.db.utils", change)


def keep_files_in_the_cache():
    """Do not wait for the disk, 6 ms a file (measured): tests kill processes, but do not cut the power."""
    os.fsync = lambda _descriptor: None


def _change_workers(constants):
    constants.SETUP_WORKER_FILENAME = _PYTHON


def _change_services(services):
    """Change the monitors and agents of a machine.

    A forked agent is no child of its raylet: it notices the raylet's end by a pipe, by an option of Ray.
    """
    command_of = services._build_python_executable_command_memory_profileable
    start = services.start_ray_process

    def command_by_python(*arguments, **options):
        return _by_python(command_of(*arguments, **options))

    def start_by_python(command, process_type, *arguments, **options):
        # for all of them, which then come from one server that has imported Ray
        by_pipe = {"RAY_enable_pipe_based_agent_to_parent_health_check": "1"}
        options["env_updates"] = (options.get("env_updates") or {}) | by_pipe
        if command[0] == sys.executable:
            command = _by_python(command)
        return start(command, process_type, *arguments, **options)

    services._build_python_executable_command_memory_profileable = command_by_python
    services.start_ray_process = start_by_python


def _by_python(command):
    interpreter, *rest = command
    # Ray gives these processes jemalloc, with which an interpreter would have to begin
    return ["/usr/bin/env", "-u", "LD_PRELOAD", interpreter, "-IS", _PYTHON, *rest]


def _change_commits(database):
    """Commits of SQLite took 5 ms, 0.05 without the wait (measured)."""
    create = database.create_sqlalchemy_engine

    def create_without_waits(uri):
        engine = create(uri)
        if engine.dialect.name == "sqlite":
            set_at_connection = database.sqlalchemy.event.listens_for(engine, "connect")
            set_at_connection(lambda connection, _record: connection.execute("PRAGMA synchronous=OFF"))
        return engine

    database.create_sqlalchemy_engine = create_without_waits


def _change_tables(database, file):
    make = database._initialize_tables

    def make_or_copy(engine):
        is_new = not database.sqlalchemy.inspect(engine).get_table_names()
        if engine.dialect.name != "sqlite" or not is_new:
            make(engine)
            return
        with file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not file.exists():
                make(engine)
                _copy(engine.url.database, file.with_suffix(".new"))
                file.with_suffix(".new").replace(file)
                return
        _copy(file, engine.url.database)

    database._initialize_tables = make_or_copy


def _copy(file, target):
    with closing(sqlite3.connect(file)) as made, closing(sqlite3.connect(target)) as new:
        made.backup(new)


def _when_imported(name, change):
    """Change a module now, or once it is imported."""
    if name in sys.modules:
        change(sys.modules[name])
    elif not any(isinstance(finder, _Finder) and finder.name == name for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(name, change))


class _Finder:
    """Finds one module, once."""

    def __init__(self, name, change):
        self.name = name
        self.change = change

    def find_spec(self, name, _path=None, _target=None):
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_change(module):
            load(module)
            self.change(module)

        spec.loader.exec_module = load_and_change
        return spec
