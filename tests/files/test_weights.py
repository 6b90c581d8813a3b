from pathlib import Path

import pytest
import torch
from foreign_models import Trap
from safetensors.torch import save_file

from themo.errors import InputError
from themo.files.weights import PICKLED_WEIGHTS, SAFE_WEIGHTS, read_weights

WEIGHTS = {"linear.weight": torch.arange(6.0).reshape(2, 3)}


@pytest.mark.parametrize("is_zip", [True, False])
def test_either_format_is_read(tmp_path: Path, is_zip: bool) -> None:
    torch.save(WEIGHTS, tmp_path / PICKLED_WEIGHTS, _use_new_zipfile_serialization=is_zip)
    assert torch.equal(read_weights(tmp_path, "toy")["linear.weight"], WEIGHTS["linear.weight"])
    save_file({"other": torch.ones(1)}, tmp_path / SAFE_WEIGHTS)
    assert list(read_weights(tmp_path, "toy")) == ["other"], "safetensors come first"


def test_code_is_refused_and_never_run(tmp_path: Path) -> None:
    torch.save({"weight": Trap(tmp_path / "sprung")}, tmp_path / PICKLED_WEIGHTS)
    with pytest.raises(InputError, match=r"^toy: pytorch_model\.bin must contain only named tensors"):
        read_weights(tmp_path, "toy")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [["a list"], {"weight": "no tensor"}, {1: torch.ones(1)}])
def test_a_file_without_weights_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / PICKLED_WEIGHTS)
    with pytest.raises(InputError, match="must contain only named tensors"):
        read_weights(tmp_path, "toy")


def test_missing_and_damaged(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"^toy: must have model\.safetensors or pytorch_model\.bin, has neither"
    ):
        read_weights(tmp_path, "toy")
    (tmp_path / SAFE_WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"^toy: model\.safetensors cannot be read: "):
        read_weights(tmp_path, "toy")
