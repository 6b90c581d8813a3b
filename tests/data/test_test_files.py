import shutil
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from caption_sets import write_crossmodal, write_xflickrco
from hosts import Fault, Host
from hub import prepare
from tiny import SettingsFactory, write_captioned_images, write_lines

from themo.cli.main import main
from themo.data.crossmodal3600 import read_crossmodal
from themo.data.test_files import fetch_captions, fetch_parts, parts
from themo.data.xflickrco import read_xflickrco
from themo.data.xtd10 import Xtd10
from themo.errors import InputError

N_IMAGES = 6


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Serves XTD10's captions as its repository has them and archives of images."""
    served = tmp_path / "served"
    write_captioned_images(served, N_IMAGES)
    (served / "xtd10").rename(served / "XTD10")
    with tarfile.open(served / "coco.tar.gz", "w:gz") as archive:
        for part in ("train2014", "val2014"):
            archive.add(served / "mscoco" / part, part)
    for kind, split in (("Annotations", "val"), ("Data", "val"), ("Data", "test"), ("Data", "train")):
        write_lines(served / "in" / "ILSVRC" / kind / "CLS-LOC" / split / "a.xml", ["x"])
    write_lines(served / "in" / "LOC_synset_mapping.txt", ["n01440764 tench, Tinca tinca"])
    with tarfile.open(served / "imagenet.tar.gz", "w:gz") as archive:
        for name in ("ILSVRC", "LOC_synset_mapping.txt"):
            archive.add(served / "in" / name, name)
    return Host(served)


def places(tmp_path: Path, host: Host) -> dict[str, str]:
    return {
        "captions": str(tmp_path / "data" / "xtd10"),
        "captions_source": host.address,
        "images": str(tmp_path / "data" / "mscoco"),
        "images_source": host.url("coco.tar.gz"),
        "imagenet": str(tmp_path / "data" / "imagenet"),
        "imagenet_source": host.url("imagenet.tar.gz"),
        "prompts": "prompts.tsv",
    }


def test_all_is_fetched_once(settings: SettingsFactory, tmp_path: Path, host: Host) -> None:
    with host:
        config = settings(**places(tmp_path, host))
        assert not any(part.is_there for part in parts(config))
        fetch_parts(config)
        assert all(part.is_there for part in parts(config))
        data = tmp_path / "data"
        assert len(Xtd10.open(data / "xtd10", data / "mscoco").images) == N_IMAGES
        imagenet = data / "imagenet" / "ILSVRC" / "Data" / "CLS-LOC"
        assert [path.name for path in imagenet.iterdir()] == ["val"]  # all that is read of it
        assert not list(data.glob("*.tar.gz"))
        n_requests = len(host.requests)
        fetch_parts(config)
        assert len(host.requests) == n_requests


def test_an_emptied_folder_is_fetched_again(settings: SettingsFactory, tmp_path: Path, host: Host) -> None:
    """``rm -r data/imagenet/*`` keeps the hidden marker of the archive."""
    with host:
        config = settings(**places(tmp_path, host))
        fetch_parts(config)
        for path in (tmp_path / "data" / "imagenet").glob("[!.]*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert not next(part for part in parts(config) if part.name == "ImageNet validation").is_there
        fetch_parts(config)
        assert len(host.gets("imagenet.tar.gz")) == 2
        assert all(part.is_there for part in parts(config))


def test_captions_side_by_side_are_not_fetched(settings: SettingsFactory, tmp_path: Path, host: Host) -> None:
    with host:
        config = settings(**places(tmp_path, host))
        shutil.copytree(tmp_path / "served" / "XTD10", tmp_path / "data" / "xtd10")
        assert [part.is_there for part in parts(config) if part.is_captions] == [True] * 3
        fetch_captions(config, offline=False)
        assert not host.requests


def test_archives_of_one_name_are_different_files(
    settings: SettingsFactory, tmp_path: Path, host: Host
) -> None:
    """A killed run has the archive of one part, and not the other's."""
    served, addresses = tmp_path / "served", {}
    with host:
        for name, setting in (("coco", "images_source"), ("imagenet", "imagenet_source")):
            (served / name).mkdir()
            (served / f"{name}.tar.gz").rename(served / name / "archive.tar.gz")
            addresses[setting] = host.url(f"{name}/archive.tar.gz")
        config = settings(**places(tmp_path, host) | addresses)
        archive = next(part.archive for part in parts(config) if part.name == "ImageNet validation")
        assert archive is not None
        archive.parent.mkdir()
        shutil.copy(served / "imagenet" / "archive.tar.gz", archive)
        fetch_parts(config)
        assert len(host.gets("coco/archive.tar.gz")) == 1
        assert not host.gets("imagenet/archive.tar.gz")
        assert all(part.is_there for part in parts(config))


def test_an_archive_with_a_folder_on_top_is_kept_and_refused(
    settings: SettingsFactory, tmp_path: Path, host: Host
) -> None:
    with tarfile.open(tmp_path / "served" / "nested.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "served" / "in", "imagenet")
    with host:
        of = places(tmp_path, host) | {"imagenet_source": host.url("nested.tar.gz")}
        config = settings(**of)
        (part,) = (part for part in parts(config) if part.name == "ImageNet validation")
        for _ in range(2):
            with pytest.raises(InputError) as caught:
                fetch_parts(config)
            assert str(caught.value) == (
                f"{part.archive}: must contain ILSVRC/Data/CLS-LOC/val, ILSVRC/Annotations/CLS-LOC/val, "
                f"LOC_synset_mapping.txt, which {part.place} lacks after unpacking; "
                "remove the archive to download it again"
            )
        assert part.archive is not None
        assert part.archive.is_file()
        assert len(host.gets("nested.tar.gz")) == 1
        assert not part.is_there


def test_an_archive_without_a_listed_image_is_refused(
    settings: SettingsFactory, tmp_path: Path, host: Host
) -> None:
    served = tmp_path / "served"
    name = "train2014/COCO_train2014_000000000001.jpg"
    (served / "mscoco" / name).unlink()
    with tarfile.open(served / "coco.tar.gz", "w:gz") as archive:
        for part in ("train2014", "val2014"):
            archive.add(served / "mscoco" / part, part)
    with host:
        message = rf"mscoco-coco\.tar\.gz: must contain {name}, which .*mscoco lacks after unpacking; remove "
        with pytest.raises(InputError, match=message):
            fetch_parts(settings(**places(tmp_path, host)))


def test_a_file_put_there_by_hand_is_kept(settings: SettingsFactory, tmp_path: Path, host: Host) -> None:
    with host:
        config = settings(**places(tmp_path, host))
        shutil.copytree(tmp_path / "served" / "mscoco", tmp_path / "data" / "mscoco")
        shutil.copytree(tmp_path / "served" / "in", tmp_path / "data" / "imagenet")
        fetch_parts(config)
        assert not host.gets("coco.tar.gz") + host.gets("imagenet.tar.gz")


@pytest.mark.parametrize("missing", ["mscoco/val2014", "mscoco/train2014/COCO_train2014_000000000001.jpg"])
def test_missing_images_are_fetched(
    settings: SettingsFactory, tmp_path: Path, host: Host, missing: str
) -> None:
    with host:
        config = settings(**places(tmp_path, host))
        shutil.copytree(tmp_path / "served" / "mscoco", tmp_path / "data" / "mscoco")
        shutil.copytree(tmp_path / "served" / "XTD10", tmp_path / "data" / "xtd10" / "XTD10")
        lost = tmp_path / "data" / missing
        shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
        assert not next(part for part in parts(config) if part.name == "MSCOCO images").is_there
        fetch_parts(config)
        assert lost.exists()
        assert all(part.is_there for part in parts(config))


def test_a_folder_alone_is_not_the_images(settings: SettingsFactory, tmp_path: Path, host: Host) -> None:
    """Before the captions are there nobody knows which images they name."""
    with host:
        config = settings(**places(tmp_path, host))
        shutil.copytree(tmp_path / "served" / "mscoco/train2014", tmp_path / "data" / "mscoco" / "train2014")
        (tmp_path / "data" / "imagenet" / "ILSVRC").mkdir(parents=True)
        assert not any(part.is_there for part in parts(config))


def test_concurrent_processes_fetch_the_test_data_once(
    settings: SettingsFactory, tmp_path: Path, host: Host
) -> None:
    with host:
        config = settings(**places(tmp_path, host))
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(fetch_parts, [config] * 4))
        assert len(host.gets("coco.tar.gz")) == len(host.gets("imagenet.tar.gz")) == 1
        assert all(part.is_there for part in parts(config))


def test_a_partly_unpacked_archive_is_unpacked_again(
    settings: SettingsFactory, tmp_path: Path, host: Host
) -> None:
    """A kill leaves some images of both folders in place and the archive beside them."""
    with host:
        config = settings(**places(tmp_path, host))
        data = tmp_path / "data"
        for folder in ("train2014", "val2014"):
            (data / "mscoco" / folder).mkdir(parents=True)
            shutil.copy(next((tmp_path / "served" / "mscoco" / folder).iterdir()), data / "mscoco" / folder)
        shutil.copy(tmp_path / "served" / "coco.tar.gz", data / "mscoco-coco.tar.gz")
        assert not next(part for part in parts(config) if part.name == "MSCOCO images").is_there
        fetch_parts(config)
        assert not host.gets("coco.tar.gz")
        assert all(part.is_there for part in parts(config))
    assert len(list((data / "mscoco").rglob("*.jpg"))) == N_IMAGES
    assert (data / "mscoco-coco.tar.gz").exists(), "an archive that was there before is kept"


def test_a_half_unpacked_imagenet_is_not_there(settings: SettingsFactory, tmp_path: Path, host: Host) -> None:
    with host:
        config = settings(**places(tmp_path, host))
    shutil.copytree(tmp_path / "served" / "in", tmp_path / "data" / "imagenet")
    (part,) = (part for part in parts(config) if part.name == "ImageNet validation")
    assert part.is_there
    assert part.archive is not None
    part.archive.touch()
    assert not part.is_there


def test_a_broken_archive_leaves_nothing(settings: SettingsFactory, tmp_path: Path, host: Host) -> None:
    with host:
        config = settings(**places(tmp_path, host))
        host.fault("coco.tar.gz", Fault(times=None, body=b"this is no archive"))
        with pytest.raises(InputError, match=r"coco\.tar\.gz: "):
            fetch_parts(config)
        assert not (tmp_path / "data" / "mscoco").exists()


def test_an_archives_name_is_without_the_query(settings: SettingsFactory, tmp_path: Path, host: Host) -> None:
    with host:
        of = places(tmp_path, host)
        config = settings(**of | {"images_source": of["images_source"] + "?download=1#top"})
        fetch_parts(config)
        assert all(part.is_there for part in parts(config))
    assert (tmp_path / "data" / "mscoco" / ".mscoco-coco.tar.gz.unpacked").is_file()


def test_an_archive_of_another_kind_is_not_fetched(
    settings: SettingsFactory, tmp_path: Path, host: Host
) -> None:
    with host:
        address = host.url("coco.7z?name=coco.zip")
        config = settings(**places(tmp_path, host) | {"images_source": address})
        with pytest.raises(InputError) as caught:
            fetch_parts(config)
        assert not host.gets("coco.7z")
    assert str(caught.value) == f"{address}: must be a .tar, .tar.gz, .tgz or .zip"


def test_offline_and_without_addresses(settings: SettingsFactory, tmp_path: Path, host: Host) -> None:
    with host:
        config = settings(**places(tmp_path, host))
        with pytest.raises(InputError, match="is needed, and this run is offline; put the file at"):
            fetch_parts(config, offline=True)
        assert not host.requests
    with pytest.raises(InputError, match=r"^--tests: no benchmarks\.captions_source, images_source or"):
        fetch_parts(settings())


def test_captions_of_the_other_sets_are_fetched(
    settings: SettingsFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    served, data = tmp_path / "served", tmp_path / "data"
    write_crossmodal(served, N_IMAGES)
    write_xflickrco(served, N_IMAGES)
    with zipfile.ZipFile(served / "captions.zip", "w") as archive:
        archive.write(served / "xm3600" / "captions.jsonl", "captions.jsonl")
        archive.writestr("README.md", "not needed")
    with Host(served) as host:
        config = settings(
            xm3600_captions=str(data / "xm3600"),
            xm3600_captions_source=host.url("captions.zip"),
            xflickrco_captions=str(data / "xflickrco"),
            xflickrco_captions_source=host.url("xflickrco"),
        )
        fetch_captions(config, offline=False)
        n_requests = len(host.requests)
        fetch_captions(config, offline=False)
        assert len(host.requests) == n_requests
    assert len(read_crossmodal(data / "xm3600", "es")["es"]) == N_IMAGES
    assert len(read_xflickrco(data / "xflickrco", "es")["es"]) == N_IMAGES
    assert sorted(path.name for path in (data / "xm3600").glob("[!.]*")) == ["captions.jsonl"]
    assert "Without these files" not in capsys.readouterr().err


def test_captions_of_a_reachable_host_are_fetched(
    settings: SettingsFactory, tmp_path: Path, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    write_xflickrco(tmp_path / "served", N_IMAGES)
    with host:
        config = settings(
            **places(tmp_path, host) | {"captions_source": host.url("nosuch")},
            xflickrco_captions=str(tmp_path / "data" / "xflickrco"),
            xflickrco_captions_source=host.url("xflickrco"),
        )
        fetch_captions(config, offline=False)
    assert len(read_xflickrco(tmp_path / "data" / "xflickrco", "es")["es"]) == N_IMAGES
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("answers 404") == 3
    assert said.count("Without these files") == 1


def test_captions_lie_where_the_repository_has_them(settings: SettingsFactory) -> None:
    config = settings(captions="x", images="i", captions_source="http://host/main", language="fr")
    assert [part.source for part in parts(config)] == [
        "http://host/main/XTD10/test_image_names.txt",
        "http://host/main/XTD10/test_1kcaptions_en.txt",
        "http://host/main/MIC/test_1kcaptions_fr.txt",
    ]


@pytest.mark.slow
def test_training_fetches_test_data_unless_interrupted(
    tiny_config: Path, tmp_path: Path, host: Host, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with host:
        of = places(tmp_path, host)
        options = ["--captions", of["captions"], "--images", of["images"], "--captions-source", host.address]
        assert main(["train", "--config", str(tiny_config), *options]) == 0
        assert "in the tests" in capsys.readouterr().err  # those left out are counted
        captions = tmp_path / "data" / "xtd10"
        assert (captions / "XTD10" / "test_1kcaptions_es.txt").is_file()
        shutil.rmtree(captions)
        asked = len(host.requests)
        (version,) = (tmp_path / "logs").glob("*/version_0")
        assert main(["train", "--resume", str(version)]) == 2
        assert "was started with other sentence pairs: a corpus has changed, or the test captions" in (
            capsys.readouterr().err
        )
        assert len(host.requests) == asked


@pytest.mark.slow
def test_prepare_fetches_the_captions_that_training_must_not_see(
    tiny_config: Path, tmp_path: Path, host: Host
) -> None:
    with host:
        of = places(tmp_path, host)
        options = [
            *("--captions", of["captions"], "--images", of["images"]),
            *("--captions-source", host.address, "--images-source", of["images_source"]),
        ]
        offline = prepare(tiny_config, tmp_path, host.address, *options, "--offline")
        assert offline.returncode == 0, offline.stderr
        assert "captions of the tests may be among the training pairs" in offline.stderr
        assert not host.requests
        done = prepare(tiny_config, tmp_path, host.address, *options)
        assert done.returncode == 0, done.stderr
        assert "in the tests" in done.stderr  # those left out are counted
        assert "Training pairs are not compared" not in done.stderr
        assert not host.gets("coco.tar.gz")
        assert (tmp_path / "data" / "xtd10" / "XTD10" / "test_1kcaptions_es.txt").is_file()
        shutil.rmtree(tmp_path / "data" / "xtd10")
    away = prepare(tiny_config, tmp_path, host.address, *options)
    assert away.returncode == 0, away.stderr
    assert f"{host.address}/XTD10/test_image_names.txt: cannot be reached" in away.stderr
    assert "captions of the tests may be among the training pairs" in away.stderr
