import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_models import DIMENSION, POSITIONS, Trap, enter_into_hub_cache, write_mclip
from hosts import Host
from hub import hub
from huggingface_hub import constants
from safetensors.torch import save_file
from tiny import sentence_pairs
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer

from themo.errors import InputError
from themo.models.mclip import MClip

SENTENCES = ["el gato", "", "the small dog sleeps", "el niño pequeño viene muy rápido", "日 ñandú"]
BIN, SAFE = "pytorch_model.bin", "model.safetensors"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mclip(tmp_path_factory.mktemp("mclip"))


@pytest.fixture
def copy(toy: Path, tmp_path: Path) -> Path:
    return shutil.copytree(toy, tmp_path / "copy")


def plainly(folder: Path, texts: list[str]) -> Tensor:
    """One sentence after the other through transformers and two lines of algebra."""
    base = json.loads((folder / "config.json").read_text(encoding="utf-8"))["modelBase"]
    config = AutoConfig.from_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(folder, config=config)
    weights = torch.load(folder / BIN, weights_only=True)
    del weights["transformer.embeddings.position_ids"]
    encoder = AutoModel.from_config(config).eval()
    prefix = "transformer."
    encoder.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
    rows = []
    with torch.inference_mode():
        for text in texts:
            inputs = tokenizer(text, truncation=True, max_length=POSITIONS, return_tensors="pt")
            mean = encoder(**inputs).last_hidden_state[0].mean(dim=0)
            rows.append(weights["LinearTransformation.weight"] @ mean + weights["LinearTransformation.bias"])
    return torch.stack(rows)


def change_weights(folder: Path, change: Change) -> None:
    weights = torch.load(folder / BIN, weights_only=True)
    change(weights)
    torch.save(weights, folder / BIN)


def change_config(folder: Path, change: Change) -> None:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    change(config)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def test_vectors_are_those_of_a_plain_computation(toy: Path) -> None:
    model = MClip.load(str(toy))
    vectors = model.encode(SENTENCES)
    assert vectors.dtype == torch.float32
    assert vectors.shape == (len(SENTENCES), model.dimension) == (5, DIMENSION)
    torch.testing.assert_close(vectors, plainly(toy, SENTENCES), rtol=0, atol=1e-5)
    assert torch.pdist(vectors).min() > 0.1  # else anything would equal anything


def test_order_is_kept_over_several_batches(toy: Path) -> None:
    model = MClip.load(str(toy))
    texts = [text for pair in sentence_pairs()[:100] for text in pair]
    vectors = model.encode(texts)
    torch.testing.assert_close(vectors[:3], model.encode(texts[:3]), rtol=0, atol=1e-5)
    torch.testing.assert_close(vectors.flip(0), model.encode(texts[::-1]), rtol=0, atol=1e-5)


def test_no_text(toy: Path) -> None:
    assert MClip.load(str(toy)).encode([]).shape == (0, DIMENSION)


def test_over_long_texts_are_cut_to_the_positions(toy: Path) -> None:
    texts = ["gato " * 300, "gato " * (POSITIONS - 2), "gato " * (POSITIONS - 3), "el"]
    vectors = MClip.load(str(toy)).encode(texts)
    torch.testing.assert_close(vectors, plainly(toy, texts), rtol=0, atol=1e-5)
    torch.testing.assert_close(vectors[0], vectors[1])
    assert not torch.allclose(vectors[1], vectors[2], atol=1e-3)


def test_every_format_of_weights_gives_equal_vectors(toy: Path, copy: Path) -> None:
    expected = MClip.load(str(toy)).encode(SENTENCES)
    weights = torch.load(copy / BIN, weights_only=True)
    torch.save(weights, copy / BIN, _use_new_zipfile_serialization=False)  # as before torch 1.6
    assert torch.equal(MClip.load(str(copy)).encode(SENTENCES), expected)
    save_file({key: value.contiguous() for key, value in weights.items()}, copy / SAFE)
    (copy / BIN).write_bytes(b"not read")
    assert torch.equal(MClip.load(str(copy)).encode(SENTENCES), expected)


@pytest.mark.parametrize("file_format", ["zip", "before torch 1.6", "pickle"])
def test_weights_with_code_are_refused_and_nothing_runs(copy: Path, tmp_path: Path, file_format: str) -> None:
    sprung = tmp_path / "sprung"
    if file_format == "pickle":
        (copy / BIN).write_bytes(pickle.dumps({"LinearTransformation.bias": Trap(sprung)}, protocol=2))
    else:
        zipped = file_format == "zip"
        torch.save({"trap": Trap(sprung)}, copy / BIN, _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        InputError,
        match=r"^M-CLIP model .*copy: pytorch_model.bin must contain only named tensors.* is never run$",
    ):
        MClip.load(str(copy))
    assert not sprung.exists()
    if file_format != "pickle":  # the trap is a real one
        torch.load(copy / BIN, weights_only=False)
        assert sprung.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: w.pop("LinearTransformation.bias"),
            "lack 1 tensors, the first is LinearTransformation.bi",
        ),
        (
            lambda w: [w.pop(key) for key in list(w) if ".layer.1." in key],
            r"lack 16 tensors, the first is transformer\.encoder\.layer\.1\.attention",
        ),
        (lambda w: w.update(logit_scale=torch.ones(1)), "have besides 1 tensors, the first is logit_scale"),
        (
            lambda w: w.update({"backbone.embeddings.LayerNorm.bias": torch.ones(32)}),
            "have besides 1 tensors, the first is backbone",
        ),
        (
            lambda w: w.update({"LinearTransformation.weight": torch.ones(9, 32)}),
            r"LinearTransformation\.weight must be of shape \(12, 32\), got \(9, 32\)$",
        ),
        (lambda w: w.update(epoch=3), "must contain only named tensors"),
    ],
)
def test_weights_of_another_model(copy: Path, change: Change, message: str) -> None:
    change_weights(copy, change)
    with pytest.raises(InputError, match=rf"^M-CLIP model .*copy: .*{message}"):
        MClip.load(str(copy))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_base_published_in_half_precision(toy: Path, copy: Path, tmp_path: Path, dtype: str) -> None:
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    base = json.loads((Path(config["modelBase"]) / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(base | {"dtype": dtype}), encoding="utf-8")
    change_config(copy, lambda c: c.update(modelBase=str(tmp_path)))
    assert torch.equal(MClip.load(str(copy)).encode(SENTENCES), MClip.load(str(toy)).encode(SENTENCES))


def test_weights_need_no_pooler_and_no_position_ids(toy: Path, copy: Path) -> None:
    change_weights(copy, lambda w: [w.pop(k) for k in list(w) if ".pooler." in k or "position_ids" in k])
    assert torch.equal(MClip.load(str(copy)).encode(SENTENCES), MClip.load(str(toy)).encode(SENTENCES))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("modelBase"), r"config\.json: .* whose modelBase is of type str, got None$"),
        (lambda c: c.pop("numDims"), r"config\.json: .* whose numDims is of type int, got None$"),
        (lambda c: c.update(transformerDimensions="32"), r"transformerDimensions is of type int, got '32'$"),
        (lambda c: c.update(transformerDimensions=64), r"must be the width 32 of .*base, got 64$"),
        (lambda c: c.update(numDims=-1), r"its base must be an encoder like XLM-R: "),
        (
            lambda c: c.update(modelBase="toy/base"),
            r"its base toy/base: is not a folder, and not among the hub's files in ",
        ),
    ],
)
def test_configurations_of_something_else(copy: Path, change: Change, message: str) -> None:
    change_config(copy, change)
    with pytest.raises(InputError, match=message) as caught:
        MClip.load(str(copy))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("base", ["{}", '{"model_type": "gpt2"}', '{"model_type": "nosuch"}', "{"])
def test_bases_that_are_no_encoders(copy: Path, tmp_path: Path, base: str) -> None:
    (tmp_path / "config.json").write_text(base, encoding="utf-8")
    change_config(copy, lambda c: c.update(modelBase=str(tmp_path)))
    with pytest.raises(InputError, match=r"^M-CLIP model .*copy: its base ") as caught:
        MClip.load(str(copy))
    assert len(str(caught.value).splitlines()) == 1


def test_a_base_of_a_smaller_vocabulary(copy: Path, tmp_path: Path) -> None:
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    base = json.loads((Path(config["modelBase"]) / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(base | {"vocab_size": 9}), encoding="utf-8")
    change_config(copy, lambda c: c.update(modelBase=str(tmp_path)))
    with pytest.raises(InputError, match=r"ids must lie within the base's vocabulary of 9, got id \d+$"):
        MClip.load(str(copy))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", r"config\.json: must be the configuration of an M-CLIP model: "),
        ("tokenizer.json", "has no usable tokenizer: "),
        (BIN, "must have model.safetensors or pytorch_model.bin, has neither"),
    ],
)
def test_missing_files(copy: Path, name: str, message: str) -> None:
    (copy / name).unlink()
    with pytest.raises(InputError, match=message) as caught:
        MClip.load(str(copy))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", r"config\.json: must be the configuration of an M-CLIP model: "),
        ("tokenizer.json", "has no usable tokenizer: "),
        (BIN, r"pytorch_model\.bin "),
        (SAFE, r"model\.safetensors cannot be read: "),
    ],
)
def test_damaged_files(copy: Path, name: str, message: str) -> None:
    content = (copy / name).read_bytes() if (copy / name).exists() else b"?" * 90
    (copy / name).write_bytes(content[:80])
    with pytest.raises(InputError, match=message) as caught:
        MClip.load(str(copy))
    assert len(str(caught.value).splitlines()) == 1


def test_a_name_that_is_not_to_be_had() -> None:
    with pytest.raises(
        InputError,
        match=r"^M-CLIP model toy/mclip: is not a folder, and not among the hub's files in \S+; --offline",
    ) as caught:
        MClip.load("toy/mclip")
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^M-CLIP model .*/nothing: is not a folder, and "):
        MClip.load(str(tmp_path / "nothing"))


@pytest.mark.parametrize("weights", [BIN, SAFE])
def test_a_name_whose_files_were_downloaded(
    toy: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    if weights == SAFE:
        save_file(torch.load(copy / BIN, weights_only=True), copy / SAFE)
        (copy / BIN).unlink()
    change_config(copy, lambda c: c.update(modelBase="toy-xlm-roberta"))
    base = Path(json.loads((toy / "config.json").read_text(encoding="utf-8"))["modelBase"])
    enter_into_hub_cache(copy, tmp_path / "hub", "toy/mclip")
    enter_into_hub_cache(base, tmp_path / "hub", "toy-xlm-roberta")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    vectors = MClip.load("toy/mclip").encode(SENTENCES)
    assert torch.equal(vectors, MClip.load(str(toy)).encode(SENTENCES))


# in a process of its own: huggingface_hub reads its environment when it is imported
FROM_A_HUB = """
import json, sys
from themo.errors import InputError
from themo.models.mclip import MClip
print(json.dumps(MClip.load("toy/mclip").encode(json.loads(sys.argv[1])).tolist()))
try:
    MClip.load("toy/none")
except InputError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("weights", [BIN, SAFE])
def test_a_name_whose_files_are_to_be_downloaded(copy: Path, tmp_path: Path, weights: str) -> None:
    expected = MClip.load(str(copy)).encode(SENTENCES)
    if weights == SAFE:  # beside the other, which is then not fetched
        save_file(torch.load(copy / BIN, weights_only=True), copy / SAFE)
    base = Path(json.loads((copy / "config.json").read_text(encoding="utf-8"))["modelBase"])
    change_config(copy, lambda c: c.update(modelBase="toy-xlm-roberta"))
    with Host(tmp_path / "none") as host:
        host.routes.append(hub(models={"toy/mclip": copy, "toy-xlm-roberta": base}))
        done = subprocess.run(
            [sys.executable, "-c", FROM_A_HUB, json.dumps(SENTENCES)],
            env=os.environ
            | {
                "HF_ENDPOINT": host.address,
                "HF_HOME": str(tmp_path / "hf"),
                "HF_HUB_OFFLINE": "0",
                "NO_PROXY": "*",
                "OMP_NUM_THREADS": "1",  # as here: on some machines the last bits depend on it
            },
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    vectors, refusal = done.stdout.splitlines()
    assert torch.equal(torch.tensor(json.loads(vectors)), expected)
    assert refusal == (
        f"M-CLIP model toy/none: is not a folder, and {host.address} has no public repository of this name"
    )
    snapshots = (tmp_path / "hf" / "hub").glob("models--*/snapshots/*/*")
    fetched = {path.name for path in snapshots if path.name in (BIN, SAFE)}
    assert fetched == {weights}
