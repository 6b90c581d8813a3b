"""Lines of UTF-8 files, by `read_lines` and by `read_sentences` of the exports."""

from pathlib import Path

import pytest

from themo.data.text_lines import read_lines
from themo.errors import InputError
from themo.export.quality import read_sentences


def test_lines_end_at_line_feeds_alone(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes("\ufeff uno\u2028dos \r\ncamio\u0301n\x0btres\n\n".encode())
    lines = ["uno\u2028dos", "camión\x0btres"]
    assert read_lines(path) == lines
    assert read_sentences(path) == lines


def test_blank_lines_are_refused_or_skipped(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("uno\n\u200b\n\ndos\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"^{path}, line 2: must not be blank$"):
        read_lines(path)
    assert read_lines(path, skip_blank=True) == ["uno", "dos"]
    path.write_bytes(b"")
    assert read_lines(path, skip_blank=True) == []
