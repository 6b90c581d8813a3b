from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny import SettingsFactory, write_captioned_images

from themo.checkpoints.versions import settings_here
from themo.data.preparation import prepare_data
from themo.errors import InputError
from themo.evaluation.encoders import examine
from themo.export.exporting import export_version
from themo.export.sizes import Size, measure_sizes, names_of, refuse_other_folders, to_table
from themo.export.source import Source
from themo.files.weights import write_weights
from themo.models.static_table import load_table, save_table
from themo.training.loop import train

Make = Callable[..., Path]


@pytest.fixture
def tested_version(settings: SettingsFactory, tmp_path: Path) -> Make:
    """`tested_version(nested_widths=[4])`: a short run, with pictures to be tested on."""

    def make(**leaves: object) -> Path:
        write_captioned_images(tmp_path / "set", 12)
        places = {"captions": str(tmp_path / "set/xtd10"), "images": str(tmp_path / "set/mscoco")}
        config = settings(epochs=0.2, **places, **leaves)
        version = tmp_path / "logs" / "version_0"
        train(config, prepare_data(config), report=lambda last: last.save(version))
        return version

    return make


def sizes_of(version: Path, *folders: Path) -> dict[str, Size]:
    settings = settings_here(version)
    return measure_sizes(examine(settings, version), settings, version, folders)


@pytest.mark.slow
def test_each_form_is_scored_timed_and_weighed(tested_version: Make, tmp_path: Path) -> None:
    version = tested_version(nested_widths=[4, 12])
    table = export_version(Source.open(version), "static", tmp_path / "small").folder
    graph = export_version(Source.open(version), "onnx", tmp_path / "graph").folder
    sizes = sizes_of(version, table, graph)
    assert list(sizes) == ["student", "width 4", "small", "graph/model.onnx"]  # a width of 12 is whole
    assert [size.dimension for size in sizes.values()] == [12, 4, 12, 12]
    assert sizes["graph/model.onnx"].retrieval == sizes["student"].retrieval
    assert sizes["small"].megabytes == pytest.approx(
        sum((table / name).stat().st_size for name in ("model.safetensors", "tokenizer.json")) / 1e6
    )
    for size in sizes.values():
        for value, (low, high) in (
            (size.ms_a_text, size.ms_a_text_range),
            (size.texts_a_second, size.texts_a_second_range),
        ):
            assert 0 < low <= value <= high
    entry = sizes["small"].to_dict()
    assert entry["ms_a_text_range"] == [*sizes["small"].ms_a_text_range]
    assert to_table(sizes).row_count == 4


@pytest.mark.slow
def test_a_backbone_in_bfloat16_is_scored_beside_the_whole(tested_version: Make, tmp_path: Path) -> None:
    version = tested_version()
    whole, half = (
        export_version(Source.open(version), "transformers", tmp_path / name, bf16=name == "half").folder
        for name in ("whole", "half")
    )
    sizes = sizes_of(version, whole, half)
    assert list(sizes) == ["student", "whole", "half"]
    assert sizes["half"].megabytes < 0.8 * sizes["whole"].megabytes
    assert sizes["half"].retrieval == pytest.approx(sizes["student"].retrieval, abs=0.1)
    assert sizes["half"].dimension == 12


@pytest.mark.slow
def test_a_width_is_scored_along_the_versions_axes(tested_version: Make) -> None:
    version = tested_version(nested_widths=[4])
    # along the images' own axes and along arbitrary ones a width finds other images
    right = sizes_of(version)["width 4"].retrieval
    dead = torch.zeros(12, 12)
    write_weights({"axes": dead}, version / "student" / "axes.safetensors")
    assert sizes_of(version)["width 4"].retrieval == 0 <= right


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["a/es", "b/it"], ["es", "it"]),
        (["a/es", "b/es", "es", "it"], ["a/es", "b/es", "es", "it"]),
        (["a/es", "a/es"], ["es"]),
        (["student", "a/width 4", "."], ["./student", "a/width 4", "./"]),
    ],
)
def test_folders_have_distinct_names(folders: list[str], names: list[str]) -> None:
    assert list(names_of([Path(folder) for folder in folders]).values()) == names


def test_exports_of_one_folder_name_have_a_row_each(tested_version: Make, tmp_path: Path) -> None:
    version = tested_version()
    source = Source.open(version)
    folders = [tmp_path / place for place in ("a/es", "b/es", "student")]
    for folder in folders:
        export_version(source, "static", folder)
    sizes = sizes_of(version, *folders)
    assert list(sizes) == ["student", *map(str, folders)]
    assert sizes["student"].megabytes != sizes[str(folders[2])].megabytes


def test_a_table_of_another_space_is_refused(tested_version: Make, tmp_path: Path) -> None:
    version = tested_version()
    table = export_version(Source.open(version), "static", tmp_path / "small").folder
    loaded = load_table(table)
    from tokenizers import Tokenizer

    save_table(table, Tokenizer.from_file(str(table / "tokenizer.json")), loaded.vectors_VE[:, :5])
    with pytest.raises(InputError, match="must have the images' 12 dimensions, got 5"):
        sizes_of(version, table)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"--sizes .*: must be an export of --format static or --format onnx"
    ):
        refuse_other_folders([tmp_path])
    with pytest.raises(InputError, match=r"--sizes .*/none: must be the folder .* does not exist"):
        refuse_other_folders([tmp_path / "none"])
