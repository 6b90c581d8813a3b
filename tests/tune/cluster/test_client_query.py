from __future__ import annotations

import subprocess
import sys

import pytest
from machines import free_port

from tune.cluster import client_query as asking


@pytest.mark.slow
def test_what_goes_wrong_is_one_line_after_the_import_of_ray() -> None:
    asked = subprocess.run(
        [sys.executable, "-P", asking.__file__, f"127.0.0.1:{free_port()}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (asked.returncode, asked.stdout) == (1, "ready\n")
    (line,) = asked.stderr.splitlines()
    assert line.startswith("_InactiveRpcError: ")
    assert "Connection refused" in line
