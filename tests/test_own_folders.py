"""--dataset=folder:PATH: a folder of one's own images for each class."""

import io

import numpy as np
import own_images
import pytest
from own_images import CLASSES, numbers, picture, save, write_classes
from PIL import Image

from gtn_tf.data import loaders
from gtn_tf.data.dataset import Dataset


def load(folder, seed=0, image_size=""):
    return loaders.load(f"folder:{folder}", None, seed, image_size)


def test_class_folders_are_split_like_arrays(tmp_path):
    write_classes(tmp_path / "my pets")
    (tmp_path / "my pets" / "notes.txt").write_text("no image")
    save(tmp_path / "my pets" / ".hidden" / "000.png", picture(200))
    save(tmp_path / "my pets" / "cat" / ".hidden.png", picture(201))
    dataset = load(tmp_path / "my pets", seed=3)
    assert (dataset.name, dataset.class_names) == ("my_pets", CLASSES)
    arrays = Dataset.from_arrays(own_images.arrays(), class_names=CLASSES, seed=3)
    assert dataset.digest == arrays.digest != load(tmp_path / "my pets", 4).digest


@pytest.mark.parametrize(
    "layout, sizes",
    [
        ("train", (30, 6, 6)),
        ("train validation", (36, 3, 6)),
        ("train val test", (42, 3, 3)),
        ("train test", (36, 6, 3)),
    ],
)
def test_folders_of_splits(tmp_path, layout, sizes):
    write_classes(tmp_path / "train")
    for start, name in enumerate(layout.split()[1:], start=1):
        write_classes(tmp_path / name, (1, 1, 1), start=100 * start)
    dataset = load(tmp_path)
    parts = [dataset.train, dataset.validation, dataset.test]
    assert tuple(len(part.labels) for part in parts) == sizes
    for part, name in zip(parts, ("train", "val", "test"), strict=True):
        own = any(folder.startswith(name) for folder in layout.split())
        assert {number < 100 for number in numbers(part)} == {
            name == "train" or not own
        }


def test_a_class_may_be_called_as_a_split(tmp_path):
    write_classes(tmp_path, classes=("bus", "test", "train"))
    assert load(tmp_path).class_names == ("bus", "test", "train")


def test_folders_within_a_class(tmp_path):
    labels = write_classes(tmp_path)
    save(tmp_path / "cat" / "more" / "again" / "a.PNG", picture(99))
    dataset = load(tmp_path)
    parts = [dataset.train, dataset.validation, dataset.test]
    merged = {n: label for part in parts for n, label in numbers(part).items()}
    assert merged == labels | {99: 0}


@pytest.mark.parametrize(
    "color, channels", [([], 1), (["cat/000.png"], 3), (["all"], 3)]
)
def test_gray_only_where_all_files_are(tmp_path, color, channels):
    write_classes(tmp_path, channels=3 if color == ["all"] else 1)
    for name in set(color) - {"all"}:
        save(tmp_path / name, picture(0, channels=3))
    dataset = load(tmp_path)
    assert dataset.image_shape == (6, 7, channels)
    images = np.concatenate([dataset.train.images, dataset.test.images])
    is_gray = (images == images[..., :1]).all((1, 2, 3))
    assert is_gray.all() == (channels == 1)
    assert is_gray.any() == (color != ["all"])


def encode(image, **options):
    stream = io.BytesIO()
    image.save(stream, **options)
    return stream.getvalue()


GRAY = picture(7)[..., 0]
COLOR = picture(7, channels=3)
OPAQUE = np.full((6, 7, 1), 255, np.uint8)
TURNED = Image.Exif()
TURNED[0x0112] = 6  # shown turned to the right by a quarter
# File name -> content, the pixels that are read, how far off they may be.
FORMATS = {
    "a.png": (encode(Image.fromarray(GRAY), format="PNG"), GRAY, 0),
    "a.bmp": (encode(Image.fromarray(COLOR), format="BMP"), COLOR, 0),
    "a.tif": (encode(Image.fromarray(COLOR), format="TIFF"), COLOR, 0),
    "a.ppm": (encode(Image.fromarray(COLOR), format="PPM"), COLOR, 0),
    "a.webp": (
        encode(Image.fromarray(COLOR), format="WEBP", lossless=True),
        COLOR,
        0,
    ),
    "a.gif": (encode(Image.fromarray(GRAY), format="GIF"), GRAY, 0),
    "a.JPG": (
        encode(Image.fromarray(GRAY // 9 + 90), format="JPEG", quality=100),
        GRAY // 9 + 90,
        3,
    ),
    "sixteen bits.png": (
        encode(Image.fromarray(GRAY.astype(np.uint16) * 257), format="PNG"),
        GRAY,
        0,
    ),
    "transparent.png": (
        encode(Image.fromarray(np.dstack([COLOR, OPAQUE])), format="PNG"),
        COLOR,
        0,
    ),
    "palette.png": (
        encode(Image.fromarray(COLOR).quantize(64), format="PNG"),
        COLOR,
        1,
    ),
    "turned.png": (
        encode(Image.fromarray(np.rot90(COLOR)), format="PNG", exif=TURNED),
        COLOR,
        0,
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_files_of_every_kind(tmp_path, name):
    content, expected, tolerance = FORMATS[name]
    for label in ("x", "y"):
        (tmp_path / "train" / label).mkdir(parents=True)
        (tmp_path / "train" / label / name).write_bytes(content)
        write_classes(tmp_path / "test", (1, 1), classes="xy")
        write_classes(tmp_path / "val", (1, 1), classes="xy")
    found = load(tmp_path).train.images[0].astype(int)
    expected = np.atleast_3d(expected).astype(int)
    assert np.abs(found - expected).max() <= tolerance


@pytest.mark.parametrize(
    "image_size, shape", [("5", (5, 5, 1)), ("8x12", (8, 12, 1)), ("6x7", (6, 7, 1))]
)
def test_images_are_resized(tmp_path, image_size, shape):
    write_classes(tmp_path)
    save(tmp_path / "cat" / "large.png", picture(99, 60, 90) // 2 + 64)
    assert load(tmp_path, image_size=image_size).image_shape == shape


def test_resizing_stretches_and_takes_means(tmp_path):
    """Left half black, right half white, of 60x80: so it stays in 6x4."""
    halves = np.repeat([0, 255], 40).astype(np.uint8) * np.ones((60, 1), np.uint8)
    write_classes(tmp_path, (4, 4), classes="xy")
    save(tmp_path / "x" / "000.png", halves[..., np.newaxis])
    dataset = load(tmp_path, image_size="6x4")
    parts = [dataset.train, dataset.validation, dataset.test]
    images = np.concatenate([part.images for part in parts])[..., 0]  # [N, 6, 4]
    halved = [i for i in images if (i[:, 0] < 2).all() and (i[:, 3] > 253).all()]
    assert len(halved) == 1 and (halved[0] == halved[0][:1]).all()


def spoil(folder, count):
    """Damages the first files of the last class, in turn in three ways."""
    for index, path in enumerate(sorted((folder / "eel").iterdir())[:count]):
        content = path.read_bytes()
        path.write_bytes([content[:60], b"", b"no image"][index % 3])


def test_a_few_damaged_files_are_named_and_left_out(tmp_path, capsys):
    labels = write_classes(tmp_path)
    spoil(tmp_path, 4)
    dataset = load(tmp_path)
    parts = [dataset.train, dataset.validation, dataset.test]
    merged = {n: label for part in parts for n, label in numbers(part).items()}
    assert merged == {n: label for n, label in labels.items() if n not in range(22, 26)}
    assert capsys.readouterr().err == (
        f"warning: {tmp_path}: 4 of 42 image files cannot be read and are left out "
        "(eel/022.png, eel/023.png, eel/024.png, ...)\n"
    )


def sizes_differ(folder):
    write_classes(folder)
    save(folder / "dog" / "large.png", picture(1, 20, 30))


def only_files(folder):
    save(folder / "a.png", picture(1))


def splits_only(folder):
    write_classes(folder / "test")


def both_validations(folder):
    for name in ("train", "val", "validation"):
        write_classes(folder / name)


def class_missing(folder):
    write_classes(folder / "train")
    write_classes(folder / "test", (1, 1), classes=("cat", "dog"))


def class_too_many(folder):
    write_classes(folder / "train")
    write_classes(folder / "test", (1, 1, 1, 1), classes=(*CLASSES, "fly"))


def empty_class(folder):
    write_classes(folder)
    (folder / "fly").mkdir()
    (folder / "fly" / "a.txt").write_text("no image")


def empty_in_test(folder):
    write_classes(folder / "train")
    write_classes(folder / "test")
    for path in (folder / "test" / "dog").iterdir():
        path.unlink()


def many_damaged(folder):
    write_classes(folder)
    spoil(folder, 5)


def all_of_a_class_damaged(folder):
    write_classes(folder, (3, 39), classes=("eel", "fly"))
    spoil(folder, 3)


# What is wrong -> how it comes about, words of the line.
MISTAKES = {
    "missing": (lambda folder: folder.rmdir(), ["is no folder", "for each class"]),
    "empty": (lambda folder: None, ["has no class folders", "two or more"]),
    "only files": (only_files, ["has no class folders", "two or more"]),
    "one class": (
        lambda folder: write_classes(folder, (9,), classes=("cat",)),
        ["has cat class folder;", "two or more"],
    ),
    "empty class": (empty_class, ["fly has no images", ".png, .jpg", "remove"]),
    "empty in test": (empty_in_test, ["test/dog has no images"]),
    "class missing": (class_missing, ["(only in one: eel)", "every class in every"]),
    "class too many": (class_too_many, ["(only in one: fly)", "every class in every"]),
    "sizes": (
        sizes_differ,
        ["2 sizes", "6x7 (42), 20x30 (1)", "one size", "--image_size=32"],
    ),
    "tiny": (
        lambda folder: write_classes(folder, height=3),
        ["3x7 pixels", "sides of 4 or more", "--image_size"],
    ),
    "no train": (splits_only, ["class folders in test and none in train", "add it"]),
    "two validations": (both_validations, ["has validation and val", "rename"]),
    "damaged": (
        many_damaged,
        ["5 of 42 image files", "(eel/022.png, ", "10% at most", "repair or remove"],
    ),
    "a class damaged": (all_of_a_class_damaged, ["no train image of class 'eel'"]),
    "too few": (
        lambda folder: write_classes(folder, (8, 14, 2)),
        ["2 training images of class 'eel'", "needed: 3 or more"],
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_one_line(tmp_path, case):
    prepare, words = MISTAKES[case]
    folder = tmp_path / "pets"
    folder.mkdir()
    prepare(folder)
    with pytest.raises(ValueError) as caught:
        load(folder)
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line


@pytest.mark.parametrize("name", ["folder:", "npz:", "folder"])
def test_a_source_without_a_path(name):
    with pytest.raises(ValueError, match="names no path|is unknown"):
        loaders.load(name, None, 0)


def test_arrays_of_a_program_have_no_name_to_load_by():
    with pytest.raises(ValueError, match="Python program.*numpy.savez.*npz:FILE"):
        loaders.load("python:arrays-12345678", None, 0)


def test_a_path_that_the_system_refuses():
    with pytest.raises(ValueError, match="cannot be read .File name too long.*permis"):
        load("a" * 300)
