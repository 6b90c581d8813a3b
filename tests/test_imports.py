"""Which module may know which library: read from the source, so that imports inside functions count."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TypeGuard

import pytest

import themo

PACKAGE = Path(themo.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
SEARCH_PACKAGE = PACKAGE.parent / "tune"
SEARCHES = sorted(SEARCH_PACKAGE.rglob("*.py"))


OF_SEARCHES = [
    PACKAGE / "cli" / "commands" / f"{name}.py" for name in ("tune", "report", "status", "why", "send")
]
"""The commands that know `tune/`, in their function `run`."""

TOP = PACKAGE / "__init__.py"
"""The top level offers `themo.tune`: it names `tune/` for type checkers, and imports it at the first use."""


def imports(tree: ast.AST) -> Iterator[str]:
    """Names of the modules that some code imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_of(node: ast.AST, module: str) -> TypeGuard[ast.Attribute]:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == module


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def packages(tree: ast.AST) -> set[str]:
    return {name.partition(".")[0] for name in imports(tree)}


@cache
def packages_of(path: Path) -> set[str]:
    """The packages that a module imports; many tests ask for those of every module."""
    return packages(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_themo_never_imports_ray_or_pickle_nor_mostly_tune(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = packages(tree)
    assert not found & {"ray", "joblib"}
    assert {n.attr for n in ast.walk(tree) if is_of(n, "pickle")} <= {"UnpicklingError"}
    assert not {name for name in imports(tree) if name.startswith("pickle.")}
    if path in OF_SEARCHES:
        (command,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "run")
        assert "tune" in packages(command)
        tree.body.remove(command)
        found = packages(tree)
    if path == TOP:
        (own,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "_import_own_tune")
        (typed,) = filter(is_for_types, tree.body)
        for part in (own, typed):
            assert "tune" in packages(part)
            tree.body.remove(part)
        found = packages(tree)
    assert "tune" not in found


ROOMS = (
    "errors",
    "config",
    "process",
    "files",
    "fetching",
    "tracking",
    "miniature",
    "models",
    "data",
    "checkpoints",
    "evaluation",
    "model",
    "training",
    "image_search",
    "export",
    "cli",
)
"""The folders of `themo/`, and its modules that users import: each imports only what is named before it."""

SEARCH_ROOMS = (
    "cluster",
    "space",
    "study",
    "forecasts",
    "searchers",
    "schedulers",
    "confirmation",
    "results",
    "worker",
    "driver",
)
"""The folders of `tune/`, in the same order."""


@pytest.mark.parametrize(
    ("package", "rooms"), [(PACKAGE, ROOMS), (SEARCH_PACKAGE, SEARCH_ROOMS)], ids=["themo", "tune"]
)
def test_a_folder_imports_only_those_below_it(package: Path, rooms: tuple[str, ...]) -> None:
    modules = {p.stem for p in package.glob("*.py")} - {"__init__", "__main__"}
    assert modules | {p.parent.name for p in package.glob("*/__init__.py")} == set(rooms)
    wrong = set()
    for path in package.rglob("*.py"):
        room = path.relative_to(package).with_suffix("").parts[0]
        if room not in rooms:
            continue
        for name in imports(ast.parse(path.read_text(encoding="utf-8"))):
            of, _, below = name.partition(".")
            other = below.partition(".")[0]
            if of == package.name and other in rooms and rooms.index(other) > rooms.index(room):
                wrong.add((str(path.relative_to(package)), name))
    assert not wrong


def test_root_of_themo_has_4_modules_and_14_folders() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 4
    assert len(list(PACKAGE.glob("*/__init__.py"))) <= 14


def test_modules_import_each_other_in_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in (*MODULES, *SEARCHES):
        if path == TOP:  # it imports `tune/` at the first use
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tree.body = [node for node in tree.body if not is_for_types(node)]
        graph[".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)] = set(imports(tree))
    TopologicalSorter({module: found & graph.keys() for module, found in graph.items()}).prepare()


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("argcomplete", {"cli/commands/completion.py"}),
        (
            "mlflow",
            {f"tracking/{name}.py" for name in ("mirror", "answers", "known_runs", "connection", "registry")}
            | {"export/mlflow_format.py", "export/mlflow_model.py"},
        ),
        ("open_clip", {"models/teacher.py", "models/teacher_names.py"}),
        (
            "pyarrow",
            {
                "models/phrases.py",  # splits and numbers the words of many texts at once
                *(f"data/{n}.py" for n in ("bitext", "cleaning", "corpora", "image_ids", "preparation")),
                "data/scan.py",
            },
        ),
        ("faiss", {"image_search/lists.py"}),
        ("huggingface_hub", {"fetching/hub.py"}),
        ("onnx", {"models/runtimes/graphs.py"}),
        ("onnxruntime", {"models/runtimes/graphs.py", "export/onnx_format.py", "export/mlflow_model.py"}),
        ("sentence_transformers", set()),
        ("clip_benchmark", set()),
        ("httpx2", {f"fetching/{n}.py" for n in ("downloads", "hosts", "partial_file")}),
        ("jinja2", {"evaluation/report/html_page.py"}),
        ("markupsafe", {"evaluation/report/html_page.py"}),
        ("rawpy", {"models/raw_previews.py"}),
        ("starlette", {f"image_search/serving/{n}.py" for n in ("app", "endpoints", "guard", "workers")}),
        ("uvicorn", {"image_search/serving/server.py"}),
        ("plotly", {f"evaluation/report/{name}.py" for name in ("html_page", "figures", "page")}),
    ],
)
def test_each_library_has_its_home(module: str, allowed: set[str]) -> None:
    users = {str(path.relative_to(PACKAGE)) for path in MODULES if module in packages_of(path)}
    assert users <= allowed


def test_the_code_of_an_mlflow_model_is_self_contained() -> None:
    code = (PACKAGE / "export" / "mlflow_model.py").read_text(encoding="utf-8")
    assert "themo" not in packages(ast.parse(code))


@pytest.mark.parametrize(
    ("module", "homes"),
    [
        ("cmaes", {"searchers/evolution.py"}),
        (
            "scipy",
            {
                "searchers/quasi_random.py",
                "forecasts/curve_fit.py",
                "forecasts/curve_process.py",
                "forecasts/forecasts.py",
            },
        ),
    ],
)
def test_each_library_of_the_searchers_has_its_home(module: str, homes: set[str]) -> None:
    users = {str(path.relative_to(SEARCH_PACKAGE)) for path in SEARCHES if module in packages_of(path)}
    assert users == homes


def test_training_knows_neither_tracking_nor_the_command_line() -> None:
    tree = ast.parse((PACKAGE / "training" / "loop.py").read_text(encoding="utf-8"))
    known = ("themo.tracking", "themo.cli.main", "themo.cli.options", "themo.process.progress")
    assert not [name for name in imports(tree) if name.startswith(known)]


def test_the_command_line_loads_nothing_heavy() -> None:
    script = """
import sys
import themo.cli.main
try:
    themo.cli.main.parse(["train", "--help"])
except SystemExit:
    heavy = {"torch", "ray", "mlflow", "transformers", "open_clip", "optuna", "pyarrow", "numpy", "tune"}
    heavy |= {"plotly", "jinja2", "starlette", "uvicorn"}
    print("loaded:", sorted(heavy & set(sys.modules)))
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "loaded: []"


def test_import_themo_loads_nothing_heavy() -> None:
    script = (
        "import sys, themo; print(sorted({'torch', 'numpy', 'pydantic', 'rich', 'tune'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n"


def test_looking_for_a_cluster_does_not_load_ray() -> None:
    script = "import sys, tune.cluster.address; print('ray' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out == "False\n"


@pytest.mark.slow
def test_the_driver_of_a_search_does_not_load_torch() -> None:
    modules = ("session", "searcher", "stoppers", "range_ends", "rungs_in_pairs", "conclusion")
    names = ["themo.data.preparation", "tune.cluster.teacher_vectors", *(f"tune.driver.{m}" for m in modules)]
    script = f"import sys, {', '.join(names)}; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out == "False\n"
