from pathlib import Path

import pytest

from themo.errors import InputError
from themo.image_search.left_out import SYSTEM_FOLDERS, LeftOut
from themo.image_search.pictures import find_pictures
from themo.models import image_files

PLACES = ["a.jpg", "trips/2019/b.jpg", "trips/2020/c.png", "trips/d.png", "Trips.jpg", "old [1].jpg"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in PLACES:
        write(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def names(folder: Path, left_out: LeftOut) -> set[str]:
    def never(error: OSError) -> None:
        raise error

    return {stamp.name for stamp in find_pictures(folder, never, left_out)}


@pytest.mark.parametrize(
    ("pattern", "gone"),
    [
        ("*.png", {"trips/2020/c.png", "trips/d.png"}),
        ("trips", {"trips/2019/b.jpg", "trips/2020/c.png", "trips/d.png"}),
        ("trips/", {"trips/2019/b.jpg", "trips/2020/c.png", "trips/d.png"}),
        ("2019", {"trips/2019/b.jpg"}),
        ("trips/20*", {"trips/2019/b.jpg", "trips/2020/c.png"}),
        ("./trips/2020", {"trips/2020/c.png"}),
        ("2020/*", set()),
        ("/a.jpg", {"a.jpg"}),
        ("/2019", set()),
        ("./2019", set()),
        ("./a.jpg", {"a.jpg"}),
        ("?.jpg", {"a.jpg", "trips/2019/b.jpg"}),
        ("Trips*", {"Trips.jpg"}),
        ("old [[]1].jpg", {"old [1].jpg"}),
    ],
)
def test_a_pattern_excludes_by_name_or_by_path(folder: Path, pattern: str, gone: set[str]) -> None:
    left_out = LeftOut([pattern])
    assert names(folder, left_out) == set(PLACES) - gone
    (line,) = left_out.lines()
    assert line.startswith(f"--exclude {pattern}: ")
    assert ("no match" in line) == (not gone)


def test_several_patterns_add_up(folder: Path) -> None:
    assert names(folder, LeftOut(["*.png", "a.*", "a.jpg"])) == {
        "trips/2019/b.jpg",
        "Trips.jpg",
        "old [1].jpg",
    }


@pytest.mark.parametrize("pattern", ["", "/", "./"])
def test_an_empty_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InputError, match=r"--exclude: must be a pattern such as 'trips/\*', got '"):
        LeftOut([pattern])


@pytest.mark.parametrize("name", [*sorted(SYSTEM_FOLDERS), "@eaDir", "$RECYCLE.BIN", "#Recycle"])
def test_folders_of_the_system_are_left_out_and_named(folder: Path, name: str) -> None:
    write(folder / name / "thumb.jpg")
    write(folder / "trips" / name / "deeper" / "thumb.jpg")
    left_out = LeftOut()
    assert names(folder, left_out) == set(PLACES)
    assert left_out.lines() == [f"2 folders of thumbnails or deleted files left out: {name} (2)"]


def test_a_folder_of_the_system_is_searched_if_it_is_asked_for(folder: Path) -> None:
    write(folder / "#recycle" / "a.jpg")
    assert names(folder / "#recycle", LeftOut()) == {"a.jpg"}


def test_hidden_folders_are_left_out_without_a_word(folder: Path) -> None:
    write(folder / ".git" / "a.jpg")
    left_out = LeftOut()
    assert names(folder, left_out) == set(PLACES)
    assert left_out.lines() == []


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize(("heif", "avif"), [(True, True), (True, False), (False, True), (False, False)])
def test_optional_formats_are_found_where_they_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, heif: bool, avif: bool, raw: bool
) -> None:
    for name in ("e.heic", "f.HEIF", "g.avif", "h.JXL", "i.NEF"):
        write(folder / name)
    monkeypatch.setattr(image_files, "reads_heif", lambda: heif)
    monkeypatch.setattr(image_files, "reads_avif", lambda: avif)
    monkeypatch.setattr(image_files, "reads_raw", lambda: raw)
    left_out = LeftOut()
    assert names(folder, left_out) - set(PLACES) == ({"e.heic", "f.HEIF"} if heif else set()) | (
        {"g.avif"} if avif else set()
    ) | ({"i.NEF"} if raw else set())
    expected = ["1 file of unsupported formats left out: .jxl"]
    if not raw:
        expected.insert(0, "1 picture left out: .nef; to read them: pip install rawpy")
    if not avif:
        expected.insert(0, "1 picture left out: .avif; to read them: pip install --upgrade pillow")
    if not heif:
        expected.insert(0, "2 pictures left out: .heic, .heif; to read them: pip install pillow-heif")
    assert left_out.lines() == expected
