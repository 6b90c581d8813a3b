"""Themo: a Spanish text encoder for CLIP, distilled from its English text tower.

Example::

    import themo

    result = themo.train(batch_size=64, learn_rate=2e-3)
    model = result.best.load()                        # or themo.load("logs/miniature/version_3")
    texts = model.encode(["dos círculos rojos"])      # (1, D) float32, in the teacher's image space
    images = model.encode_images(["a.jpg", "b.jpg"])  # (2, D) float32, of length 1
    model.similarity(texts, images)                   # (1, 2) cosines

`train`, `prepare` and `tune` are the commands of these names as functions.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from themo.errors import InputError

if TYPE_CHECKING:
    from themo.model import Model, load
    from themo.training.loop import Report
    from themo.training.result import BestStudent, TrainResult
    from themo.training.run import prepare, train
    from tune.driver.tuning import TrialResult, TuneResult, tune

__all__ = [
    "BestStudent",
    "InputError",
    "Model",
    "Report",
    "TrainResult",
    "TrialResult",
    "TuneResult",
    "load",
    "prepare",
    "train",
    "tune",
]
__version__ = "0.1.0"

_HOMES = {
    "Model": "themo.model",
    "load": "themo.model",
    "Report": "themo.training.loop",
    "BestStudent": "themo.training.result",
    "TrainResult": "themo.training.result",
    "prepare": "themo.training.run",
    "train": "themo.training.run",
    "TrialResult": "tune.driver.tuning",
    "TuneResult": "tune.driver.tuning",
    "tune": "tune.driver.tuning",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use: ``import themo`` loads neither torch nor Ray."""
    if name not in _HOMES:
        raise AttributeError(f"module 'themo' has no attribute {name!r}")
    if _HOMES[name].startswith("tune."):
        _import_own_tune()
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _import_own_tune() -> None:
    """Import the package `tune` beside this one, even if a ``tune.py`` lies beside the program.

    Raises:
        InputError: The program has imported another module of this name.
    """
    folder = Path(__file__).resolve().parents[1]
    if "tune" not in sys.modules:
        sys.path.insert(0, str(folder))
        try:
            import tune  # noqa: F401
        finally:
            sys.path.remove(str(folder))
    file = sys.modules["tune"].__file__
    if file is None or Path(file).resolve() != folder / "tune" / "__init__.py":
        raise InputError(f"{file}: must have another name than tune.py, which is the name of Themo's package")
