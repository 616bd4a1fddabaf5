"""Data by reference: what a user's function may return, and one line for all that can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset

from tuneoff import references
from tuneoff.trainer.data.load import load as load_data
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.data.sources import examples
from tuneoff.trainer.data.sources.labels import plain
from tuneoff.trainer.recipe import DataSource

Returning = Callable[..., DataSource]

LABELS = np.arange(30) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 10, 3), dtype=np.uint8)


class Things(Dataset[Any]):
    """A map-style data set of anything."""

    def __init__(self, get: Callable[[int], Any], count: int = 30) -> None:
        self.get, self.count = get, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Any:
        return self.get(number)


@pytest.fixture
def returning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Returning:
    """Makes a module whose function returns a value, and the source that names it."""
    import sys
    from types import ModuleType

    module = ModuleType("mydata")
    monkeypatch.setitem(sys.modules, "mydata", module)
    monkeypatch.setattr(references, "_allowed", {"mydata"})

    def make(value: Any, **more: Any) -> DataSource:
        def load(**options: Any) -> Any:
            return value(**options) if callable(value) else value

        load.__module__ = "mydata"
        module.load = load  # type: ignore[attr-defined]
        return DataSource("mydata:load", **more)

    return make


def pixels(pack: Pack) -> np.ndarray[Any, Any]:
    return np.asarray(pack.images)


FLOATS = (IMAGES / 255).astype(np.float32)
TENSORS = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
FORMS = {
    "arrays": (IMAGES, LABELS),
    "list of labels": (IMAGES, LABELS.tolist()),
    "column of labels": (IMAGES, LABELS[:, None]),
    "list of arrays": [IMAGES, LABELS],
    "other integers": (IMAGES.astype(np.int64), LABELS.astype(np.float64)),
    "fractions": (FLOATS, LABELS),
    "channels first": (IMAGES.transpose(0, 3, 1, 2), LABELS),
    "tensors": (TENSORS, torch.from_numpy(LABELS)),
    "PIL images": ([Image.fromarray(image) for image in IMAGES], LABELS),
    "dict": {"train_images": IMAGES, "train_labels": LABELS},
    "Keras' names": {"x_train": IMAGES, "y_train": LABELS},
    "Dataset of PIL images": Things(lambda n: (Image.fromarray(IMAGES[n]), LABELS[n])),
    "Dataset of tables": Things(lambda n: {"img": IMAGES[n], "label": LABELS[n]}),
    "list of pairs": list(zip(IMAGES, LABELS, strict=True)),
    "Dataset alone in a tuple": (TensorDataset(TENSORS / 255, torch.from_numpy(LABELS)),),
    "bfloat16": (torch.from_numpy(IMAGES).double() / 255, torch.from_numpy(LABELS).bfloat16()),
    "Dataset in a dict": {"train": TensorDataset(TENSORS, torch.from_numpy(LABELS))},
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_give_the_same_images(load: Any, returning: Returning, form: str) -> None:
    pack = load(returning(FORMS[form]))
    np.testing.assert_array_equal(pixels(pack), IMAGES)
    assert pack.labels.tolist() == LABELS.tolist()
    assert pack.classes == ("0", "1", "2")
    assert np.bincount(pack.labels[pack.test]).tolist() == [2, 2, 2]  # a fifth of each class


@pytest.mark.parametrize(
    "both",
    [
        (IMAGES[:15], LABELS[:15], IMAGES[15:], LABELS[15:]),
        (Things(lambda n: (IMAGES[n], LABELS[n]), 15),
         Things(lambda n: (IMAGES[n + 15], LABELS[n + 15]), 15)),
        {"train_images": IMAGES[:15], "train_labels": LABELS[:15],
         "val_images": IMAGES[15:], "val_labels": LABELS[15:]},
        [Subset(Things(lambda n: (IMAGES[n], LABELS[n])), range(15)),
         Subset(Things(lambda n: (IMAGES[n], LABELS[n])), range(15, 30))],
    ],
)  # fmt: skip
def test_a_test_split_of_its_own_stays_apart(load: Any, returning: Returning, both: Any) -> None:
    pack = load(returning(both))
    assert pack.test.tolist() == [False] * 15 + [True] * 15
    np.testing.assert_array_equal(pixels(pack), IMAGES)


def test_grey_images_alpha_and_names_of_classes(load: Any, returning: Returning) -> None:
    grey = IMAGES[:, :, :, 0]
    names = np.array(["ant", "bee", "cat"])
    pack = load(returning({"train_images": grey, "train_labels": names[LABELS]}))
    np.testing.assert_array_equal(pixels(pack), np.repeat(grey[..., None], 3, axis=3))
    assert pack.classes == ("ant", "bee", "cat")
    assert pack.labels.tolist() == LABELS.tolist()
    whole = np.concatenate([IMAGES, IMAGES[..., :1]], axis=3)
    classes = ["zebra", "yak", "ant"]
    pack = load(returning({"train_images": whole, "train_labels": LABELS, "classes": classes}))
    np.testing.assert_array_equal(pixels(pack), IMAGES)
    assert pack.classes == ("zebra", "yak", "ant")
    own = Things(lambda n: (IMAGES[n], int(LABELS[n])))
    own.classes = classes  # type: ignore[attr-defined]
    assert load(returning(own)).classes == ("zebra", "yak", "ant")


def test_images_of_different_sizes_are_scaled_to_squares(
    load: Any, returning: Returning, refused: Any
) -> None:
    def of(number: int) -> Any:
        return Image.new("RGB", (20 + number, 12), (number, 0, 0)), number % 2

    refused(returning(Things(of)), "train image 1 has 21 x 12 pixels, the first 20 x 12; set im")
    assert load(returning(Things(of), image_size=16)).images.shape == (30, 16, 16, 3)
    # As of folders: images of one size that are square keep it, and are scaled on the device.
    square = IMAGES[:, :, :8]
    assert load(returning((square, LABELS), image_size=16)).images.shape == (30, 8, 8, 3)
    assert load(returning((IMAGES, LABELS), image_size=16)).images.shape == (30, 16, 16, 3)


def test_options_and_the_path_are_given_to_the_function(load: Any, returning: Returning) -> None:
    def made(**options: Any) -> Any:
        assert options == {"count": 12, "path": "there"}
        return IMAGES[: options["count"]], LABELS[: options["count"]]

    assert len(load(returning(made, path="there", options={"count": 12})).images) == 12


def test_changed_data_are_other_data(load: Any, returning: Returning) -> None:
    changed = IMAGES.copy()
    changed[29, 7, 9, 2] += 1
    sources = [(IMAGES, LABELS), (changed, LABELS), (IMAGES[:29], LABELS[:29])]
    of_arrays = [load(returning(source)).digest for source in sources]
    of_items = [load(returning(list(zip(*s, strict=True)))).digest for s in sources]
    assert len(set(of_arrays)) == 3
    assert of_items == of_arrays
    again = load(returning(list(zip(IMAGES, LABELS, strict=True))))
    assert again.digest == of_arrays[0]


def test_a_large_data_set_is_read_whole_only_once(
    returning: Returning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examples, "LOOKED_AT", 5)
    read: list[int] = []

    def of(number: int) -> Any:
        read.append(number)
        return IMAGES[number], LABELS[number]

    for _ in range(2):
        load_data(returning(Things(of)), tmp_path)
    assert len(read) == 5 + 30 + 5
    assert read[:5] == read[-5:] == [0, 7, 14, 21, 29]


def broken(number: int) -> Any:
    if number == 7:
        raise OSError("disk is gone\nand more")
    return IMAGES[number], LABELS[number]


def test_broken_images_are_left_out_where_that_is_asked(load: Any, returning: Returning) -> None:
    pack = load(returning(Things(broken), corrupt="skip"))
    assert len(pack.images) == 29
    assert pack.notes == (
        "1 of 30 images cannot be used and are left out; the first is train image 7 "
        "(OSError: disk is gone)",
    )


class Shrinking(Things):
    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Any:
        self.count = 29
        return IMAGES[number], LABELS[number]


def at_random(number: int) -> Any:
    return np.random.default_rng().integers(0, 256, (8, 8, 3), dtype=np.uint8), number % 3


def raising(**options: Any) -> Any:
    raise RuntimeError("no network\nat all")


def exiting(**options: Any) -> Any:
    raise SystemExit(3)


NAN = FLOATS.copy()
NAN[3, 0, 0, 0] = np.nan
REFUSED = {
    "None": (lambda: None, r"mydata:load returned is None; it has to be \(train_images"),
    "one array": (IMAGES, r"is one array of shape \(30, 8, 10, 3\); it has to be"),
    "three": ((IMAGES, LABELS, IMAGES), "is a tuple of 3; it has to be"),
    "a number": (3, "is of type int; it has to be"),
    "raises": (raising, r"load\(\) failed: RuntimeError: no network$"),
    "exits": (exiting, r"load\(\) failed: SystemExit: 3"),
    "an unknown key": ({"images": IMAGES}, "the key 'images', which means nothing here; choose"),
    "labels alone": ({"train_labels": LABELS}, "train_images and train_labels belong together"),
    "no training": ({"test": Things(broken)}, "has no training images"),
    "empty": ((IMAGES[:0], LABELS[:0]), "the train split is empty"),
    "empty test": ((IMAGES, LABELS, IMAGES[:0], LABELS[:0]), "the test split is empty"),
    "empty Dataset": (Things(broken, 0), "the train split is empty"),
    "fewer labels": ((IMAGES, LABELS[:29]), r"labels have shape \(29,\).*one label for each image"),
    "one-hot labels": ((IMAGES, np.eye(3)[LABELS]), r"labels have shape \(30, 3\)"),
    "flat images": ((IMAGES.reshape(30, -1), LABELS), r"images have shape \(30, 240\)"),
    "two channels": ((IMAGES[..., :2], LABELS), r"train image 0 cannot be used: its shape is \(8"),
    "from 1": ((IMAGES, LABELS + 1), "labels go up to 3, but no training image has label 0;"),
    "huge": ((IMAGES, np.where(LABELS, LABELS, 10**15)), "no training image has label 0"),
    "ragged labels": ((IMAGES, [[0], [1, 2]] * 15), "train labels differ in shape"),
    "no list of labels": ((list(IMAGES), 3), "no length or no items by number"),
    "negative": ((IMAGES, LABELS - 1), "a label is -1; number the classes 0 to n - 1"),
    "half": ((IMAGES, LABELS / 2), "a label is '0.5'"),
    "mixed": ((list(IMAGES), ["a", *LABELS[1:]]), "some labels are names and some numbers"),
    "one class": ((IMAGES, LABELS * 0), "there is 1 class"),
    "only in test": ((IMAGES, LABELS, IMAGES, LABELS + 1), "a label is 3, which is no class of"),
    "no such class": ({"train_images": IMAGES, "train_labels": LABELS, "classes": ["a", "b"]},
                      "a label is 2, which is no class;"),
    "class twice": ({"train_images": IMAGES, "train_labels": LABELS, "classes": ["a", "b", "b"]},
                    "two classes are called b"),
    "classes no names": ({"train_images": IMAGES, "train_labels": LABELS, "classes": [1, 2, 3]},
                         "classes has to be a list of names"),
    "NaN": ((NAN, LABELS), "train image 3 cannot be used: it has values that are NaN"),
    "normalised": ((FLOATS * 4 - 2, LABELS), "fractions from -2 to 2; give 0 to 1"),
    "16 bits": ((IMAGES.astype(np.uint16) * 2, LABELS), "it has values from 0 to .*give 0 to 255"),
    "truth": ((IMAGES > 0, LABELS), "of type bool; give uint8"),
    "an item raises": (Things(broken), "image 7 cannot be used: OSError: disk is gone$"),
    "no pair": (Things(lambda n: IMAGES[n]), r"not a pair \(image, label\)"),
    "no image": (Things(lambda n: ("a.png", 0)), "it is of type str, and no PIL image"),
    "no label": (Things(lambda n: (IMAGES[n], None)), "a label is 'None'"),
    "other columns": (Things(lambda n: {"a": 1}), "it has a; name the two columns image and"),
    "no length": (iter([(IMAGES[0], 0)]), "no length or no items by number; give a map-style"),
    "random": (Things(at_random), "train image 0 is another one when it is read again"),
    "shrinks": (Shrinking(lambda n: None), "the length of train changed from 30 to 29"),
    "none can be used": ((IMAGES[..., :2], LABELS), "none of the 30 images can be used"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(
    refused: Any, returning: Returning, case: str
) -> None:
    value, said = REFUSED[case]
    skipped = {"corrupt": "skip"} if case == "none can be used" else {}
    refused(returning(value, **skipped), said)


def test_a_reference_that_names_no_function(refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "_allowed", set())
    refused(DataSource("mydata:load"), "nobody allowed this process to run .*--allow mydata")
    monkeypatch.setattr(references, "_allowed", {"nosuchdata", "math"})
    refused(DataSource("nosuchdata:load"), "there is no module nosuchdata here")
    refused(DataSource("math:pi"), 'data.name = "math:pi" is no function, but of type float')


def test_options_are_for_references_alone() -> None:
    with pytest.raises(ValueError, match="options are for a data set by reference"):
        DataSource("digits", options={"count": 1})
    with pytest.raises(ValueError, match=r"options\.path is data\.path; set that"):
        DataSource("mydata:load", options={"path": "x"})
    with pytest.raises(ValueError, match=r"options\.size = None must be a number, a word"):
        DataSource("mydata:load", options={"size": None})
    with pytest.raises(ValueError, match=r'data\.name = "my data:x" is no reference'):
        DataSource("my data:x")
    assert hash(DataSource("mydata:load", options={"a": [1]}))


def test_a_label_that_is_no_number_is_said_with_its_shape() -> None:
    with pytest.raises(ValueError, match=r"a label has shape \(3,\)"):
        plain(np.zeros(3))
    assert plain(torch.tensor([2])) == 2
