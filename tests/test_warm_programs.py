"""Programs that `warm_start.PYTHON` starts behave as those of an interpreter of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import warm_start

pytestmark = pytest.mark.slow


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [*warm_start.PYTHON, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(
    ("program", "code", "out", "err"),
    [
        ("print(1)", 0, "1\n", ""),
        ("import sys; print(2); sys.exit(3)", 3, "2\n", ""),
        ("import sys; sys.exit('no')", 1, "", "no\n"),
        ("import atexit; atexit.register(print, 'last'); print('first')", 0, "first\nlast\n", ""),
        ("import threading as t; t.Timer(0.2, print, ['late']).start()", 0, "late\n", ""),
        ("import os; os._exit(7)", 7, "", ""),
        ("import os; os.kill(os.getpid(), 11)", -11, "", ""),
    ],
)
def test_output_and_exit_code(program: str, code: int, out: str, err: str) -> None:
    done = run("-c", program)
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)


def test_a_traceback_ends_with_the_error() -> None:
    done = run("-c", "raise ValueError('x')")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "ValueError: x")


def test_arguments_input_folder_and_environment_are_the_callers(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("import os, sys\nprint(sys.argv[1:], sys.stdin.read(), os.getcwd())")
    for arguments in (["-m", "own"], [str(tmp_path / "own.py")]):
        assert run(*arguments, "a", input="b", cwd=tmp_path).stdout == f"['a'] b {tmp_path}\n"
    (tmp_path / "elsewhere").mkdir()
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = run("-c", "import own", cwd=tmp_path / "elsewhere", env=environment, input="")
    assert done.stdout == f"[]  {tmp_path / 'elsewhere'}\n"


def test_heavy_libraries_are_there_and_ours_are_not() -> None:
    loaded = (
        "import sys; print([name in sys.modules for name in ('torch', 'mlflow', 'ray', 'themo', 'tune')])"
    )
    # MLflow writes variables of its own into the environment of whoever used it before, this process perhaps
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = run("-c", loaded, env=environment)
    assert done.stdout == "[True, True, False, False, False]\n", done.stderr


def test_a_library_reads_the_variables_of_the_program() -> None:
    asked = "from huggingface_hub import constants; print(constants.ENDPOINT)"
    done = run("-c", asked, env=os.environ | {"HF_ENDPOINT": "http://127.0.0.1:1"})
    assert done.stdout == "http://127.0.0.1:1\n"


def test_other_variables_of_python_take_an_interpreter() -> None:
    loaded = "import sys; print('torch' in sys.modules, sys.flags.optimize)"
    assert run("-c", loaded, env=os.environ | {"PYTHONOPTIMIZE": "1"}).stdout == "False 1\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_the_program(number: signal.Signals) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # children of a shell's job ignore it
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(300)"
    process = subprocess.Popen(
        [*warm_start.PYTHON, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert pid != process.pid
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -number
    with suppress(ProcessLookupError):  # where the one that waits was killed, a moment later
        while True:
            os.kill(pid, 0)
            time.sleep(0.01)


@pytest.mark.parametrize("to_group", [False, True])
def test_a_signal_to_the_group_reaches_children(to_group: bool) -> None:
    program = "import subprocess as s; p = s.Popen(['sleep', '300']); print(p.pid, flush=True); p.wait()"
    variables = warm_start.TO_ITS_GROUP if to_group else {}
    command = [*warm_start.PYTHON, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | variables) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM
        assert bool(psutil.wait_procs([child], timeout=60 if to_group else 0.2)[0]) == to_group
        if not to_group:
            child.kill()


def test_without_a_server_an_interpreter_runs_the_program(tmp_path: Path) -> None:
    environment = os.environ | {"THEMO_TESTS_WARM": str(tmp_path / "none")}
    assert run("-c", "import sys; print(len(sys.argv), sys.executable)", env=environment).stdout == (
        f"1 {sys.executable}\n"
    )


IDS_OF_FORKS = """
import os, sys
sys.path.insert(0, sys.argv[1])
import server

server.load_ray(getattr(server, sys.argv[2]))
from ray import UniqueID

for _ in range(2):
    if not os.fork():
        print(UniqueID.from_random().hex(), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.parametrize("modules", ["OF_WORKERS", "OF_RAY"])
def test_workers_of_ray_have_ids_of_their_own(modules: str) -> None:
    """With the same ids, the threads of two workers put two objects under one, and a third waited for it."""
    command = [sys.executable, "-c", IDS_OF_FORKS, str(Path(__file__).parent / "warm"), modules]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(set(done.stdout.split())) == 2
