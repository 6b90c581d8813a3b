from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from themo.errors import InputError
from themo.evaluation.report.tables import Cell, Lead, lay_out, read_scores
from themo.evaluation.scores import Scores

RANKS = {
    "student": torch.tensor([0, 0, 2, 30]),
    "ceiling": torch.tensor([0, 0, 0, 1]),
    "teacher_es": torch.tensor([50, 60, 70, 0]),
}


def test_a_test_file_comes_back_as_tables(tmp_path: Path) -> None:
    scores = Scores({"retrieval": RANKS, "accuracy": RANKS})
    (tmp_path / "test.json").write_text(json.dumps(scores.to_dict()), encoding="utf-8")
    retrieval, accuracy = lay_out(read_scores(tmp_path / "test.json"))
    assert (retrieval.name, retrieval.queries) == ("Retrieval", "4 captions")
    assert (accuracy.name, accuracy.queries) == ("Accuracy", "4 images")
    assert [key for key, _, _ in retrieval.rows] == ["student", "ceiling", "teacher_es"]
    _, name, cells = retrieval.rows[0]
    assert name == "student, Spanish"
    assert [cell.share for cell in cells] == [0.5, 0.75, 0.75]
    assert (cells[0].low, cells[0].high) == pytest.approx(scores.interval("student", "retrieval", 1))
    assert retrieval.leads == (
        Lead(
            "floor: the teacher, fed Spanish",
            Cell(*scores.difference("student", "teacher_es", "retrieval", 1)),
            needed=1.0,
        ),
    )


def test_one_task_and_a_row_of_any_name() -> None:
    (table,) = lay_out(Scores({"accuracy": {"mine": RANKS["student"]}}).to_dict())
    assert [name for _, name, _ in table.rows] == ["mine"]
    assert table.leads == ()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"n": {"retrieval": 2}, "student": {}, "ci95": {}}'])
def test_a_damaged_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "test.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"test\.json: is not a valid test record: .*`test --version-path"):
        read_scores(tmp_path / "test.json")


@pytest.mark.parametrize("sizes", [[], {"es-onnx": {}}, {"es-onnx": None}])
def test_damaged_sizes(tmp_path: Path, sizes: object) -> None:
    content = Scores({"retrieval": RANKS}).to_dict() | {"sizes": sizes}
    (tmp_path / "test.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=r"test\.json: is not a valid test record: "):
        read_scores(tmp_path / "test.json")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"test\.json: cannot be read: No such file or directory"):
        read_scores(tmp_path / "test.json")
