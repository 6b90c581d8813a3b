from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.chaos.disk import SmallDisk, why_not


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_a_small_disk_is_full_until_it_is_freed(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", megabytes=1) as disk:
        (disk.folder / "file").write_bytes(bytes(10_000))
        disk.fill()
        with pytest.raises(OSError, match="No space left on device"):
            (disk.folder / "more").write_bytes(bytes(10_000))
        (disk.folder / "file").unlink()
        disk.fill()
        with pytest.raises(OSError, match="No space left on device"):
            (disk.folder / "more").write_bytes(bytes(10_000))
        disk.free()
        (disk.folder / "more").write_bytes(bytes(10_000))
    assert not list((tmp_path / "disk").iterdir())
