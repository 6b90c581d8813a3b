"""The tiny teacher on a real Ray cluster of two workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from clusters import one_machine
from formula_readers import MortalReader

from themo.config.settings import Settings
from themo.data.preparation import prepare_data
from themo.errors import InputError
from themo.models.teacher import Teacher
from tune.cluster.teacher_vectors import encoder_on

pytestmark = [
    pytest.mark.slow,
    # what ray does among its own
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"
    ),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    import ray

    with one_machine(num_cpus=2):
        yield ray.get_runtime_context().gcs_address


def test_remote_vectors_keep_their_order_and_values(address: str, tiny_teacher: Path) -> None:
    random = np.random.default_rng(0)
    words = ["red", "cat", "runs", "the", "small", "dog", "sleeps"]
    # the first chunks take longest: were it not for the order, the last would come first
    sizes = [2000, 700, 300, 40, 1, 7]
    chunks = [[" ".join(random.choice(words, random.integers(1, 12))) for _ in range(n)] for n in sizes]
    teacher = Teacher.load(str(tiny_teacher))
    encode = encoder_on(address)
    for target in ("state", "unit"):
        found = np.concatenate(list(encode((str(tiny_teacher), None), "cpu", iter(chunks), target)))  # type: ignore[arg-type]
        expected = np.concatenate([teacher.encode_texts(chunk, target) for chunk in chunks])  # type: ignore[arg-type]
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, expected.astype(np.float16))


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune.cluster.teacher_vectors._Reader", MortalReader)


def test_only_a_window_of_the_corpus_is_under_way(
    address: str, mortal: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.cluster.teacher_vectors.WINDOW", 4)
    n_chunks, taken = 10, 0

    def chunks() -> Iterator[list[str]]:
        nonlocal taken
        for number in range(n_chunks):
            taken += 1
            yield [str(number)] * 3

    found = []
    for vectors in encoder_on(address)(("none", str(tmp_path / "grave")), "cpu", chunks(), "state"):
        assert taken <= len(found) + 4
        found.append(vectors)
    np.testing.assert_array_equal(np.concatenate(found)[:, 0], np.repeat(np.arange(n_chunks), 3))


def test_a_chunk_whose_reader_died_is_read_by_another(address: str, mortal: None, tmp_path: Path) -> None:
    chunks = [[str(number)] for number in range(9)]
    grave = tmp_path / "grave"
    found = list(encoder_on(address)(("4", str(grave)), "cpu", iter(chunks), "state"))
    assert grave.exists()
    np.testing.assert_array_equal(np.concatenate(found)[:, 0], np.arange(9))


def test_a_chunk_that_every_reader_dies_over_ends_it(address: str, mortal: None, tmp_path: Path) -> None:
    chunks = [[str(number)] for number in range(9)]
    encode = encoder_on(address)
    with pytest.raises(InputError, match="--address: the teacher cannot run on the cluster: "):
        list(encode(("4", str(tmp_path / "grave")), "cpu", iter(chunks), "unit"))


def test_the_cluster_encodes_a_large_corpus_into_one_entry(
    address: str, tiny_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepared(cache: str, large: int) -> tuple[Path, list[str]]:
        asked: list[str] = []
        encode = encoder_on(address)

        def elsewhere(names, *arguments):  # type: ignore[no-untyped-def]
            asked.append(names[0])
            return encode(names, *arguments)

        monkeypatch.setattr("themo.data.targets.LARGE_CORPUS", large)
        config = tiny_settings.override({"cache_dir": str(tmp_path / cache)})
        return prepare_data(config, elsewhere).train.vectors, asked

    here, not_asked = prepared("here", 100_000)
    there, asked = prepared("there", 200)
    assert not not_asked
    assert len(asked) == 1  # the corpus is large, what is held out of it is not
    assert there.parent.name == here.parent.name
    assert there.read_bytes() == here.read_bytes()


def test_a_teacher_that_the_workers_cannot_find_reads_here(
    address: str, tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("themo.data.targets.LARGE_CORPUS", 200)
    encode = encoder_on(address)

    def elsewhere(names, *arguments):  # type: ignore[no-untyped-def]
        return encode((f"{names[0]}-of-another-machine", None), *arguments)

    vectors = np.load(prepare_data(tiny_settings, elsewhere).train.vectors)
    said = capsys.readouterr().err
    assert "--address: the teacher cannot run on the cluster: " in said
    assert vectors.shape[1] == 12
    assert np.isfinite(vectors).all()
