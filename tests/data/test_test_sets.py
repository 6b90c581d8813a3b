import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from themo.data.test_sets import ImageNet, Xtd10
from themo.errors import InputError

NAMES = [
    "COCO_train2014_000000436508.jpg",
    "COCO_val2014_000000127068.jpg",
    "COCO_train2014_000000436515.jpg",
]
SYNSETS = ["n01440764", "n01443537"]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def xtd(tmp_path: Path) -> tuple[Path, Path]:
    """The three first lines of a test set as XTD10 is laid out, with what else may lie around."""
    captions, images = tmp_path / "xtd10", tmp_path / "mscoco"
    write(captions / "test_image_names.txt", "\n".join(NAMES) + "\n")
    write(captions / "test_1kcaptions_es.txt", "un gato\nun pájaro\u2028rojo\nun niño")  # no last newline
    write(captions / "test_1kcaptions_en.txt", "a cat\r\na bird\r\na child\r\n")
    write(captions / "README.md", "not a caption")
    for name in [*NAMES, "COCO_train2014_000000000009.jpg"]:
        write(images / name.split("_")[1] / name, "")
    return captions, images


def test_xtd10_pairs_captions_with_images(xtd: tuple[Path, Path]) -> None:
    captions, images = xtd
    data = Xtd10.open(captions, images, "es")
    assert data.captions == {
        "en": ("a cat", "a bird", "a child"),
        "es": ("un gato", "un pájaro\u2028rojo", "un niño"),
    }
    assert [path.relative_to(images).as_posix() for path in data.images] == [
        "train2014/COCO_train2014_000000436508.jpg",
        "val2014/COCO_val2014_000000127068.jpg",
        "train2014/COCO_train2014_000000436515.jpg",
    ]
    assert data.image_of_caption == (0, 1, 2)


def test_captions_and_prompts_are_read_in_canonical_form(
    xtd: tuple[Path, Path], imagenet: tuple[Path, Path]
) -> None:
    (captions, images), (folder, prompts) = xtd, imagenet
    composed = Xtd10.open(captions, images), ImageNet.open(folder, prompts)
    texts = [*captions.glob("*.txt"), prompts]
    for path in texts:
        path.write_text(unicodedata.normalize("NFD", path.read_text(encoding="utf-8")), encoding="utf-8")
    assert "n\u0303" in "".join(path.read_text(encoding="utf-8") for path in texts)
    assert (Xtd10.open(captions, images), ImageNet.open(folder, prompts)) == composed


def test_xtd10_in_english_alone(xtd: tuple[Path, Path]) -> None:
    (xtd[0] / "test_1kcaptions_es.txt").unlink()
    assert list(Xtd10.open(*xtd, "en").captions) == ["en"]


def test_xtd10_as_the_repository_has_it(xtd: tuple[Path, Path]) -> None:
    captions, images = xtd
    for part, name in (("MIC", "1kcaptions_en"), ("XTD10", "1kcaptions_es"), ("XTD10", "image_names")):
        write(captions / part / "x", "")
        (captions / f"test_{name}.txt").rename(captions / part / f"test_{name}.txt")
    assert Xtd10.open(captions, images, "es").captions["en"][0] == "a cat"


def test_xtd10_image_with_two_captions(xtd: tuple[Path, Path]) -> None:
    write(xtd[0] / "test_image_names.txt", "\n".join([NAMES[0], NAMES[1], NAMES[0]]))
    data = Xtd10.open(*xtd, "es")
    assert (len(data.images), data.image_of_caption) == (2, (0, 1, 0))


def test_xtd10_missing_images_are_counted_and_named(xtd: tuple[Path, Path]) -> None:
    captions, images = xtd
    names = [f"COCO_val2014_{i:012d}.jpg" for i in range(1200)]
    write(captions / "test_image_names.txt", "\n".join(names))
    write(captions / "test_1kcaptions_es.txt", "uno\n" * 1200)
    write(captions / "test_1kcaptions_en.txt", "one\n" * 1200)
    write(images / "val2014" / names[1], "")
    with pytest.raises(InputError) as error:
        Xtd10.open(captions, images, "es")
    assert str(error.value) == (
        f"{images}: 1,199 of 1,200 images are missing: val2014/{names[0]}, val2014/{names[2]}, "
        f"val2014/{names[3]} and 1,196 more"
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "test_1kcaptions_es.txt",
            b"uno\ndos\n",
            r"es\.txt: must have as many lines as .*got 2 captions for 3",
        ),
        ("test_1kcaptions_es.txt", b"uno\n \ntres\n", r"es\.txt, line 2: must not be blank"),
        ("test_1kcaptions_es.txt", b"", r"es\.txt, line 1: must not be blank"),
        ("test_1kcaptions_es.txt", b"uno\nni\xf1o\ntres", r"es\.txt: must be UTF-8, got 0xf1 at byte 6"),
        (
            "test_1kcaptions_es.txt",
            "uno\ndos\ntres\n".encode("utf-16-be"),
            r"es\.txt: must be UTF-8, got 0x00 at byte 0",
        ),
        ("test_1kcaptions_es.txt", None, r"es\.txt: cannot be read: No such file"),
        ("test_1kcaptions_en.txt", None, r"en\.txt: cannot be read: No such file"),
        ("test_image_names.txt", None, r"names\.txt: cannot be read: No such file"),
        ("test_image_names.txt", b"a.jpg\nb.jpg\nc.jpg", r"names\.txt: names must look like .*got 'a\.jpg'"),
        (
            "test_image_names.txt",
            b"COCO_val2014_1.jpg\nCOCO_val2014_../../x.jpg\nCOCO_val2014_1.jpg",
            r"got 'COCO_val2014_\.\./\.\./x\.jpg'",
        ),
    ],
)
def test_xtd10_refuses(xtd: tuple[Path, Path], name: str, content: bytes | None, message: str) -> None:
    path = xtd[0] / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        Xtd10.open(*xtd, "es")


def annotation(*synsets: str) -> str:
    objects = "".join(
        f"<object><name>{synset}</name><pose>Unspecified</pose><bndbox><xmin>1</xmin></bndbox></object>"
        for synset in synsets
    )
    return (
        "<annotation><folder>val</folder><filename>ILSVRC2012_val_00000001</filename>"
        f"<source><database>ILSVRC_2012</database></source>{objects}</annotation>\n"
    )


@pytest.fixture
def imagenet(tmp_path: Path) -> tuple[Path, Path]:
    """Three images of two classes as Kaggle packs ImageNet, with what else may lie around."""
    folder = tmp_path / "imagenet"
    write(folder / "LOC_synset_mapping.txt", f"{SYNSETS[0]} tench, Tinca tinca\n{SYNSETS[1]} goldfish\n")
    write(folder / "LOC_val_solution.csv", "ImageId,PredictionString\n")
    images, annotations = folder / "ILSVRC/Data/CLS-LOC/val", folder / "ILSVRC/Annotations/CLS-LOC/val"
    for number, objects in ((3, SYNSETS[:1]), (1, [SYNSETS[1]] * 2), (2, SYNSETS[:1])):
        write(images / f"ILSVRC2012_val_{number:08d}.JPEG", "")
        write(annotations / f"ILSVRC2012_val_{number:08d}.xml", annotation(*objects))
    write(images / "._ILSVRC2012_val_00000001.JPEG", "")
    write(images / "index.html", "")
    write(folder / "ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG", "")
    prompts = write(
        tmp_path / "prompts.tsv",
        "synset\ten\tes\n"
        f"{SYNSETS[1]}\ta goldfish\tun pez dorado\n"
        f"{SYNSETS[0]}\ta tench\tuna tenca\n"
        f"{SYNSETS[1]}\ta picture of a goldfish\tuna foto de un pez dorado\n",
    )
    return folder, prompts


def test_imagenet_classes_images_and_prompts(imagenet: tuple[Path, Path]) -> None:
    data = ImageNet.open(*imagenet)
    assert data.synsets == tuple(SYNSETS)
    assert [path.name for path in data.images] == [f"ILSVRC2012_val_0000000{i}.JPEG" for i in (1, 2, 3)]
    assert data.class_of_image == (1, 0, 0)
    assert data.prompts == {
        "en": (("a tench",), ("a goldfish", "a picture of a goldfish")),
        "es": (("una tenca",), ("un pez dorado", "una foto de un pez dorado")),
    }


BOMB = '<!DOCTYPE a [<!ENTITY x "xxxx"><!ENTITY y "&x;&x;&x;">]><annotation>&y;</annotation>'
THIEF = '<!DOCTYPE a SYSTEM "file:///etc/hostname"><annotation/>'
XML = "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000002.xml"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (XML, annotation(), r"00002\.xml: needs objects of exactly one class, got none"),
        (XML, annotation(*SYNSETS), r"exactly one class, got n01440764, n01443537"),
        (XML, annotation("n00000001"), r"00002\.xml: the object's name must be a synset .*got 'n00000001'"),
        (XML, annotation(SYNSETS[0])[:60], r"00002\.xml: must be XML: "),
        (XML, "", r"00002\.xml: must be XML: no element found"),
        (XML, "<?xml version='1.0' encoding='klingon'?><a/>", r"00002\.xml: must be XML: "),
        (XML, BOMB, r"00002\.xml: an annotation must not declare a document type or entities"),
        (XML, THIEF, r"00002\.xml: an annotation must not declare a document type or entities"),
        (XML, None, r"imagenet: 1 of 3 images lack an annotation: .*ILSVRC2012_val_00000002\.JPEG"),
        (
            "ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000003.JPEG",
            None,
            r"imagenet: 1 of 3 annotated images are missing: .*ILSVRC2012_val_00000003",
        ),
        ("LOC_synset_mapping.txt", None, r"LOC_synset_mapping\.txt: cannot be read: No such file"),
        ("LOC_synset_mapping.txt", "tench n01440764\n", r"line 1: must start with a synset .*got 'tench'"),
        (
            "LOC_synset_mapping.txt",
            f"{SYNSETS[0]} a\n{SYNSETS[0]} b",
            r"must occur once, got n01440764",
        ),
        ("../prompts.tsv", None, r"prompts\.tsv: cannot be read: No such file"),
        (
            "../prompts.tsv",
            "synset,en,es\n",
            r"prompts\.tsv, line 1: the header must be 'synset' and language",
        ),
        ("../prompts.tsv", "synset\ten\ten\n", r"prompts\.tsv, line 1: the header must be"),
        (
            "../prompts.tsv",
            "synset\tes\nn01440764\tuna\ttenca\n",
            r"line 2: needs a prompt in each of es, got",
        ),
        (
            "../prompts.tsv",
            "synset\ten\tes\nn01440764\t\tuna tenca\n",
            r"line 2: needs a prompt in each of en, es",
        ),
        (
            "../prompts.tsv",
            "synset\tes\nn09999999\tuna tenca\n",
            r"line 2: must start with a synset of .*n09999999",
        ),
        (
            "../prompts.tsv",
            "synset\tes\nn01440764\tuna tenca\n",
            r"every class needs a prompt, 1 of 2 have none: n01443537",
        ),
    ],
)
def test_imagenet_refuses(imagenet: tuple[Path, Path], name: str, content: str | None, message: str) -> None:
    path = imagenet[0] / name
    if content is None:
        path.unlink()
    else:
        write(path, content)
    with pytest.raises(InputError, match=message) as error:
        ImageNet.open(*imagenet)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "opening",
    [
        lambda folder: ImageNet.open(folder / "imagenet", folder / "prompts.tsv"),
        lambda folder: Xtd10.open(folder / "xtd10", folder / "mscoco", "es"),
    ],
)
def test_a_missing_folder_is_named(tmp_path: Path, opening: Callable[[Path], object]) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        opening(tmp_path)


def test_imagenet_without_images(imagenet: tuple[Path, Path]) -> None:
    for path in (imagenet[0] / "ILSVRC/Data/CLS-LOC/val").iterdir():
        path.unlink()
    with pytest.raises(
        InputError, match=r"CLS-LOC/val: must hold ImageNet's validation files \*\.JPEG, got none"
    ):
        ImageNet.open(*imagenet)
