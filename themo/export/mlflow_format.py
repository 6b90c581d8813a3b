"""MLflow: a pyfunc model over the ONNX graph, its code a file in it ("models from code"), no pickle."""

from __future__ import annotations

import logging
import os
import warnings
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from themo.export import onnx_format
from themo.export.request import Request

LIBRARY = "mlflow"
TASK = "feature-extraction"
NORMALIZED = False
CODE = Path(__file__).with_name("mlflow_model.py")
_NEEDS = ("mlflow", "numpy", "onnxruntime", "pandas", "tokenizers")

refuse = partial(onnx_format.refuse, format_name="mlflow")


def write(folder: Path, request: Request) -> list[str]:
    """Write the files; return notes on deviations for the card."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as temporary:
        encoder = Path(temporary) / "encoder"
        encoder.mkdir()
        notes = onnx_format.write(encoder, request)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow's warnings about itself
            mlflow.pyfunc.save_model(
                folder,
                python_model=str(CODE),
                artifacts={"encoder": encoder.as_uri()},
                pip_requirements=[f"{name}=={version(name)}" for name in _NEEDS],
            )
    # drop local paths of the artifacts; they are found by their names
    # not by Model.load: MLflow decodes percent signs in a path
    model = mlflow.models.Model.from_dict(yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8")))
    function = model.flavors["python_function"]
    function["model_code_path"] = CODE.name
    for artifact in function["artifacts"].values():
        artifact["uri"] = artifact["path"]
    model.save(str(folder / "MLmodel"))
    return [*notes, f"The model runs on CPUs by onnxruntime; its code, `{CODE.name}`, does not need Themo."]


def usage(_request: Request) -> str:
    """Return the card's lines of code."""
    return """\
```python
import mlflow

<place>
model = mlflow.pyfunc.load_model(place)
<sentences>
vectors = model.predict(sentences)
```

The input is one sentence, a list, tuple or array of sentences, or a pandas table with exactly one column of
text.

As a server, from this folder (for a registered model, `models:/NAME/VERSION` in place of the folder):

```console
mlflow models serve --model-uri . --env-manager local --host 127.0.0.1 --port 5001
curl http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' \\
    -d '{"inputs": ["un perro corre por la playa"]}'
```
"""
