"""`themo.load` and its model, as programs use them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tiny import SettingsFactory, write_picture, write_version_of

import themo
from themo.config.settings import Settings
from themo.evaluation.encoders import _load_encoder
from themo.files.atomic import replace_folder
from themo.models.axes import write_axes
from themo.models.student import load_student
from themo.models.teacher import Teacher

TEXTS = ["el gato rojo corre", "canta el búho muy viejo y pequeño", "el perro"]


@pytest.fixture
def version(tmp_path: Path, tiny_settings: Settings) -> Path:
    return write_version_of(tiny_settings, tmp_path / "logs" / "tiny" / "version_0", dimension=12)


@pytest.fixture
def state_version(tmp_path: Path, settings: SettingsFactory) -> Path:
    """A student of the text state before CLIP's projection, 16 dimensions wide."""
    return write_version_of(settings(target="state"), tmp_path / "logs" / "state" / "version_0", dimension=16)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    random = np.random.default_rng(0)
    paths = [tmp_path / "pictures" / f"{i}.jpg" for i in range(3)]
    for path in paths:
        write_picture(path, random)
    return paths


@pytest.mark.parametrize("read", [partial(themo.load, runtime="torch"), _load_encoder], ids=["load", "test"])
def test_a_student_replaced_while_it_is_read_is_read_again(
    version: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    plain, loaded = load_file, []

    def load(path: Path) -> dict[str, torch.Tensor]:
        tensors = plain(path)
        if not loaded:
            replace_folder(
                path.parent, lambda new: shutil.copytree(version / "student", new, dirs_exist_ok=True)
            )
        loaded.append(path.name)
        return tensors

    monkeypatch.setattr("themo.models.student.load_file", load)
    read(version)
    assert loaded == ["model.safetensors", "head.safetensors"] * 2


def test_texts_keep_their_order_in_any_batch_size(version: Path) -> None:
    model = themo.load(version)
    student, tokenizer = load_student(version / "student")
    vectors = model.encode(TEXTS)
    assert (vectors.shape, vectors.dtype, model.dimension) == ((3, 12), np.float32, 12)
    exact = student.encode(tokenizer, TEXTS)
    for got in (vectors, model.encode(TEXTS, batch_size=1)):  # may be rounded to bfloat16 on the way
        assert torch.cosine_similarity(torch.from_numpy(got), exact).min() >= 0.9999
        np.testing.assert_allclose(got, exact.numpy(), rtol=0, atol=0.01 * float(exact.abs().max()))
    lengths = np.linalg.norm(model.encode(TEXTS, normalize=True), axis=1)
    np.testing.assert_allclose(lengths, 1.0, rtol=1e-5)
    assert model.encode([]).shape == (0, 12)


def test_one_text_and_one_image_give_one_vector(version: Path, pictures: list[Path]) -> None:
    model = themo.load(version)
    assert model.encode(TEXTS[0]).shape == (12,)
    np.testing.assert_array_equal(model.encode(TEXTS[0]), model.encode(TEXTS[:1])[0])
    np.testing.assert_allclose(np.linalg.norm(model.encode("el perro", normalize=True)), 1.0, rtol=1e-5)
    expected = model.encode_images(pictures[:1])[0]
    for image in (pictures[0], str(pictures[0]), Image.open(pictures[0])):
        np.testing.assert_array_equal(model.encode_images(image), expected)
    one = model.similarity(model.encode(TEXTS[0]), expected)
    np.testing.assert_array_equal(one, model.similarity([model.encode(TEXTS[0])], [expected]))
    assert one.shape == (1, 1)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_encodes_after_its_parent(version: Path, pictures: list[Path]) -> None:
    script = f"""
import os, sys, time
import numpy as np, torch, themo
torch.set_num_threads(4)
model = themo.load({str(version)!r})
texts = ["el gato rojo corre", "el perro"] * 500
images = {list(map(str, pictures * 8))!r}
before = model.encode(texts, batch_size=1000), model.encode_images(images)
child = os.fork()
after = model.encode(texts, batch_size=1000), model.encode_images(images)
for first, second in zip(before, after):
    np.testing.assert_allclose(first, second, atol=5e-3)  # a child stays in float32
if child == 0:
    print("child", torch.get_num_threads(), flush=True)
    os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print("parent", torch.get_num_threads(), code)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == ["child 1", "parent 4 0"], done.stderr
    assert done.stderr == ""


@pytest.mark.slow
def test_a_pool_of_forked_workers_encodes(version: Path) -> None:
    script = f"""
import multiprocessing
import numpy as np, torch, themo
torch.set_num_threads(4)
model = themo.load({str(version)!r})
texts = ["el gato rojo corre", "el perro"] * 500
expected = model.encode(texts, batch_size=1000)
with multiprocessing.get_context("fork").Pool(2) as pool:
    for vectors in pool.map(model.encode, [texts] * 4):
        np.testing.assert_allclose(vectors, expected, atol=5e-3)  # as above
print("done")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr


def test_a_forked_child_refuses_a_model_on_a_gpu(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = themo.load(version)
    monkeypatch.setattr(type(model), "device", torch.device("cuda"))
    monkeypatch.setattr(os, "getpid", lambda: -1)
    for encode in (model.encode, model.encode_images):
        with pytest.raises(themo.InputError, match="a model on a GPU cannot be used in a forked process: "):
            encode([])


def test_decomposed_text_is_read_as_composed(version: Path) -> None:
    model = themo.load(version)
    decomposed = [unicodedata.normalize("NFD", text) for text in TEXTS]
    assert decomposed != TEXTS
    np.testing.assert_array_equal(model.encode(decomposed), model.encode(TEXTS))
    assert model.count_tokens(decomposed) == model.count_tokens(TEXTS)


def test_a_student_of_the_state_is_taken_through_the_projection(state_version: Path) -> None:
    model = themo.load(str(state_version))
    student, tokenizer = load_student(state_version / "student")
    teacher = Teacher.load(model.settings.teacher.architecture)
    expected = teacher.to_image_space(student.encode(tokenizer, TEXTS), "state").numpy()
    np.testing.assert_allclose(model.encode(TEXTS, normalize=True), expected, rtol=0, atol=5e-3)
    assert model.dimension == 12


def test_the_teacher_is_loaded_only_when_needed(
    version: Path, state_version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    themo.load(state_version).encode(TEXTS)  # keeps the projection in the cache

    def never(*_: object) -> Any:
        raise AssertionError("the teacher is not needed")

    monkeypatch.setattr(Teacher, "load", never)
    assert themo.load(version).encode(TEXTS).shape == (3, 12)
    assert themo.load(state_version).encode(TEXTS).shape == (3, 12)


def test_images_from_files_and_from_memory(version: Path, pictures: list[Path]) -> None:
    model = themo.load(version)
    expected = Teacher.load(model.settings.teacher.architecture).encode_images(pictures).numpy()
    np.testing.assert_allclose(model.encode_images(pictures), expected, atol=1e-6)
    opened = [str(pictures[0]), Image.open(pictures[1]), pictures[2]]
    np.testing.assert_allclose(model.encode_images(opened), expected, atol=1e-6)
    assert model.encode_images([]).shape == (0, 12)


def test_similarity_is_the_cosine_of_every_pair(version: Path) -> None:
    model = themo.load(version)
    first = [[3.0, 4.0], [1.0, 0.0]]
    second = np.array([[6.0, 8.0], [0.0, 2.0], [-1.0, 0.0]], dtype=np.float64)
    expected = [[1.0, 0.8, -0.6], [0.6, 0.0, -1.0]]
    np.testing.assert_allclose(model.similarity(first, second), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"vectors must be \(N, D\) and \(M, D\), got \(2, 2\) and \(1, 3\)"):
        model.similarity(first, [[1.0, 2.0, 3.0]])


def test_similarity_takes_reversed_and_read_only_arrays(version: Path) -> None:
    model = themo.load(version)
    vectors = np.array([[3.0, 4.0], [1.0, 0.0]], dtype=np.float32)
    expected = model.similarity(vectors, vectors)
    fixed = vectors.copy()
    fixed.setflags(write=False)
    np.testing.assert_array_equal(model.similarity(fixed, vectors), expected)
    np.testing.assert_array_equal(model.similarity(vectors[::-1], vectors), expected[::-1])
    np.testing.assert_allclose(model.similarity(vectors[:, ::-1], vectors[:, ::-1]), expected, atol=1e-6)


def test_how_much_of_a_text_is_read(version: Path) -> None:
    model = themo.load(version)
    assert model.max_length == 16
    assert model.count_tokens(["el perro", " ".join(["perro"] * 30)]) == [4, 32]


def test_a_student_of_own_vectors_reads_but_sees_nothing(
    tmp_path: Path, settings: SettingsFactory, pictures: list[Path]
) -> None:
    np.save(tmp_path / "own.npy", np.ones((400, 6), dtype=np.float16))
    own = settings(targets=str(tmp_path / "own.npy"), target="state")
    model = themo.load(write_version_of(own, tmp_path / "own", dimension=6))
    assert model.encode(TEXTS).shape == (3, 6)
    with pytest.raises(
        themo.InputError,
        match=r"own: must have a teacher with an image tower, but was trained on data.targets .*own.npy",
    ):
        model.encode_images(pictures)


def test_a_moved_version_loads_from_any_working_directory(
    version: Path, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cache's relative path is looked for above it, as in a checkout with data/cache and logs."""
    moved = shutil.move(version, tmp_path / "logs" / "best student")
    config = moved / "config.yaml"
    config.write_text(
        config.read_text(encoding="utf-8").replace(str(tmp_path / "cache"), "data/cache"), encoding="utf-8"
    )
    (tmp_path / "data" / "cache").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    model = themo.load("../logs/best student")
    assert model.settings.paths.cache_dir == str(tmp_path / "data" / "cache")
    assert model.encode_images(pictures).shape == (3, 12)
    assert themo.load(moved, cache_dir="mine").settings.paths.cache_dir == "mine"


def test_a_miniature_that_is_not_there_is_not_built_in_silence(
    tmp_path: Path, settings: SettingsFactory, pictures: list[Path]
) -> None:
    """Built on another machine its teacher may be another."""
    toy = settings(architecture="miniature:teacher")
    model = themo.load(write_version_of(toy, tmp_path / "version_0", dimension=12))
    with pytest.raises(
        themo.InputError, match=r"teacher miniature:teacher must be in the cache .* \(cache_dir"
    ):
        model.encode_images(pictures)
    assert not (tmp_path / "cache").exists()


REFUSED: dict[str, tuple[Callable[[themo.Model, Path], object], str]] = {
    "bytes": (lambda model, _: model.encode(b"el perro"), "`texts` must be a list, got bytes"),  # type: ignore[arg-type]
    "a lone text to count": (lambda model, _: model.count_tokens("el"), "`texts` must be a list, got str"),
    "numbers": (lambda model, _: model.encode([1]), "`texts` must contain only texts, got int"),  # type: ignore[list-item]
    "half a character": (lambda model, _: model.encode(["\udce1"]), "`texts` must be Unicode"),
    "a lone file that is not there": (
        lambda model, folder: model.encode_images(folder / "a.jpg"),
        "a.jpg: cannot read the image",
    ),
    "no image": (
        lambda model, folder: model.encode_images([folder / "a.jpg"]),
        "a.jpg: cannot read the image",
    ),
    "a batch of none": (lambda model, _: model.encode(["a"], batch_size=0), "`batch_size` must be 1 or more"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(version: Path, tmp_path: Path, case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call(themo.load(version), tmp_path)


def test_a_folder_that_is_no_version_is_refused(
    tmp_path: Path, version: Path, settings: SettingsFactory
) -> None:
    with pytest.raises(themo.InputError, match=r"must be a version directory, but does not exist"):
        themo.load(tmp_path / "nosuch")
    shutil.rmtree(version / "student")
    with pytest.raises(themo.InputError, match="but has no student/"):
        themo.load(version)
    if not torch.cuda.is_available():
        with pytest.raises(themo.InputError, match="must be auto or cpu"):
            themo.load(version, device="cuda")
    foreign = write_version_of(settings(), tmp_path / "foreign", dimension=5)
    with pytest.raises(themo.InputError, match="must have the teacher's 12 dimensions, got 5"):
        themo.load(foreign).encode_images([])
    foreign = write_version_of(settings(target="state"), tmp_path / "foreign", dimension=5)
    with pytest.raises(themo.InputError, match="must have the teacher's 16 dimensions, got 5"):
        themo.load(foreign).encode(TEXTS)


@pytest.mark.gpu
def test_on_a_gpu_as_on_a_cpu(version: Path, state_version: Path, pictures: list[Path]) -> None:
    for folder in (version, state_version):
        here, there = (themo.load(folder, device=device) for device in ("cpu", "cuda"))
        assert there.device.type == "cuda"
        np.testing.assert_allclose(there.encode(TEXTS), here.encode(TEXTS), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(
            there.encode_images(pictures), here.encode_images(pictures), rtol=1e-3, atol=1e-4
        )


@pytest.mark.slow
def test_the_package_is_typed_and_its_import_loads_nothing_heavy() -> None:
    assert (Path(themo.__file__).parent / "py.typed").is_file()
    script = (
        "import sys, themo\n"
        "heavy = {'torch', 'transformers', 'open_clip', 'numpy', 'pydantic', 'yaml', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)), callable(themo.load), 'torch' in sys.modules)\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out == "[] True True\n"
    with pytest.raises(AttributeError, match="module 'themo' has no attribute 'laod'"):
        themo.laod  # noqa: B018


def test_short_vectors_lie_along_the_versions_axes(version: Path, pictures: list[Path]) -> None:
    axes = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(0)))[0]
    write_axes(version / "student", axes)
    model = themo.load(version)
    short = model.encode(TEXTS, dimensions=5)
    np.testing.assert_allclose(short, (model.encode(TEXTS) @ axes.numpy())[:, :5], atol=1e-5)
    assert model.encode(TEXTS[0], dimensions=5).shape == (5,)
    images = model.encode_images(pictures, dimensions=5)
    expected = (model.encode_images(pictures) @ axes.numpy())[:, :5]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(images, expected, atol=1e-5)
    # a rotation keeps what whole vectors say of each other
    whole = model.similarity(model.encode(TEXTS), model.encode_images(pictures))
    turned = [model.encode(TEXTS, dimensions=12), model.encode_images(pictures, dimensions=12)]
    np.testing.assert_allclose(model.similarity(*turned), whole, atol=1e-5)


def test_axes_stay_those_of_the_loaded_student(version: Path) -> None:
    """A training replaces the student and its axes after the student was loaded."""
    old, new = (
        torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(seed)))[0]
        for seed in (0, 1)
    )
    write_axes(version / "student", old)
    expected = themo.load(version).encode(TEXTS, dimensions=5)
    model = themo.load(version)

    def write(folder: Path) -> None:
        shutil.copytree(version / "student", folder, dirs_exist_ok=True)
        write_axes(folder, new)

    replace_folder(version / "student", write)
    np.testing.assert_array_equal(model.encode(TEXTS, dimensions=5), expected)


def test_a_loaded_model_encodes_after_its_version_moved(version: Path) -> None:
    model = themo.load(version)
    version.rename(version.with_name("moved"))
    assert model.encode(TEXTS).shape == (3, 12)


def test_short_vectors_are_refused_without_axes_or_above_them(version: Path) -> None:
    with pytest.raises(themo.InputError, match=r"needs a student trained with loss.nested_widths, got 5"):
        themo.load(version).encode(TEXTS, dimensions=5)
    write_axes(version / "student", torch.eye(12))
    for wrong in (0, 13):
        with pytest.raises(themo.InputError, match=f"`dimensions` must be from 1 to 12, got {wrong}"):
            themo.load(version).encode(TEXTS, dimensions=wrong)
