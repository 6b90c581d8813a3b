"""Marks in a shared folder; machines of a real cluster: test_shipping.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from themo.errors import InputError
from tune.cluster.sharing import refuse_unsigned, refuse_unwritable, sign
from tune.cluster.storage import Storage


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--storage-path .*file/below: cannot be written: "):
        refuse_unwritable(Storage(str(tmp_path / "file" / "below")))
    refuse_unwritable(Storage(str(tmp_path / "new")))
    assert not list((tmp_path / "new").iterdir())


def test_another_machines_folder_of_that_name_lacks_a_signature(
    tmp_path: Path,
) -> None:
    storage = Storage(str(tmp_path / "share"))
    with pytest.raises(OSError, match=rf"cannot see the files of other machines in {tmp_path}/share"):
        refuse_unsigned(storage)
    for _ in range(2):
        sign(storage)
        refuse_unsigned(storage)
