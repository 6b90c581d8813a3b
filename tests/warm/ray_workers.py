"""Ray starts the workers of a cluster by a file of its own; here, by `python.py`."""

import importlib.util
import sys
from pathlib import Path

_CONSTANTS = "ray._private.ray_constants"


def begin_by_python():
    """Have a cluster that this process starts begin its workers by `python.py`, whenever Ray is imported."""
    if _CONSTANTS in sys.modules:
        _name_the_file(sys.modules[_CONSTANTS])
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _name_the_file(constants):
    constants.SETUP_WORKER_FILENAME = str(Path(__file__).with_name("python.py"))


class _Finder:
    """Finds one module, once."""

    def find_spec(self, name, _path=None, _target=None):
        if name != _CONSTANTS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_name(module):
            load(module)
            _name_the_file(module)

        spec.loader.exec_module = load_and_name
        return spec
