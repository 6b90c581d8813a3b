import unicodedata
from pathlib import Path

import pytest

from themo.data.imagenet import ImageNet
from themo.errors import InputError

SYNSETS = ["n01440764", "n01443537"]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


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
        f"{SYNSETS[1]}\ta goldfish\tun pez japonés\n"
        f"{SYNSETS[0]}\ta tench\tuna tenca\n"
        f"{SYNSETS[1]}\ta picture of a goldfish\tuna foto de un pez japonés\n",
    )
    return folder, prompts


def test_imagenet_classes_images_and_prompts(imagenet: tuple[Path, Path]) -> None:
    data = ImageNet.open(*imagenet)
    assert data.synsets == tuple(SYNSETS)
    assert [path.name for path in data.images] == [f"ILSVRC2012_val_0000000{i}.JPEG" for i in (1, 2, 3)]
    assert data.class_of_image == (1, 0, 0)
    assert data.prompts == {
        "en": (("a tench",), ("a goldfish", "a picture of a goldfish")),
        "es": (("una tenca",), ("un pez japonés", "una foto de un pez japonés")),
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
            f"{SYNSETS[0]} tench\n{SYNSETS[1]}\n",
            r"line 2: must have a name after the synset, got 'n01443537'",
        ),
        (
            "LOC_synset_mapping.txt",
            f"{SYNSETS[0]} \u200b, tench\n",
            r"line 1: must have a name after the synset, got ",
        ),
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


def test_prompts_are_read_in_canonical_form(imagenet: tuple[Path, Path]) -> None:
    composed, path = ImageNet.open(*imagenet), imagenet[1]
    text = path.read_text(encoding="utf-8")
    decomposed = unicodedata.normalize("NFD", text)
    assert decomposed != text
    path.write_text(decomposed, encoding="utf-8")
    assert ImageNet.open(*imagenet) == composed


def test_imagenet_without_images(imagenet: tuple[Path, Path]) -> None:
    for path in (imagenet[0] / "ILSVRC/Data/CLS-LOC/val").iterdir():
        path.unlink()
    with pytest.raises(
        InputError, match=r"CLS-LOC/val: must contain ImageNet's validation files \*\.JPEG, got none"
    ):
        ImageNet.open(*imagenet)


def test_a_missing_folder_of_images_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        ImageNet.open(tmp_path / "imagenet", tmp_path / "prompts.tsv")
