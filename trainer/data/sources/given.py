"""Images and labels as Python code gives them: arrays, or map-style data sets of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuneoff.messages import printable
from tuneoff.trainer.data.sources import any_image
from tuneoff.trainer.data.sources.examples import LABELS, Arrays, Pairs, Split
from tuneoff.trainer.errors import DataError


@dataclass(frozen=True)
class Given:
    """A whole data set.

    Attributes:
        splits: "train" and, where there is one, "test".
        classes: names of the classes, if they are known.
        notes: which images are not used, and why; a line each.
    """

    splits: Mapping[str, Split]
    classes: tuple[str, ...] | None
    notes: tuple[str, ...] = ()


def of(found: Any, said: str) -> Given:
    """A data set in one of the forms that ``FORMS`` says.

    Args:
        said: what gave it, as messages call it.

    Raises:
        DataError: it has another form.
    """
    if isinstance(found, Mapping):
        return _of_table(found, said)
    if isinstance(found, tuple) or (isinstance(found, list) and _is_structure(found)):
        if len(found) == 2 and not _is_images(found[0]):
            return _of_table({"train": found[0], "test": found[1]}, said)
        if len(found) in (2, 4):
            names = ("train_images", "train_labels", "test_images", "test_labels")
            return _of_table(dict(zip(names, found, strict=False)), said)
        if len(found) == 1 and not _is_images(found[0]):
            return _of_table({"train": found[0]}, said)
    elif found is not None and not _is_images(found, in_list=False):
        return _of_table({"train": found}, said)
    kind = f"a tuple of {len(found)}" if isinstance(found, tuple) else _kind(found)
    raise DataError(f"{said} is {kind}; it has to be {FORMS}")


FORMS = (
    "(train_images, train_labels), with test_images, test_labels behind if there are some; or a "
    "map-style Dataset of (image, label), or (train, test) of them; or a dict of these"
)
_SPLITS = ("train", "val", "test")
_OTHER_NAMES = {"validation": "val", "valid": "val", "x_train": "train_images",
                "y_train": "train_labels", "x_test": "test_images", "y_test": "test_labels",
                "x_val": "val_images", "y_val": "val_labels"}  # fmt: skip


def _of_table(table: Mapping[Any, Any], said: str) -> Given:
    known = (*_SPLITS, *(f"{s}_{kind}" for s in _SPLITS for kind in ("images", "labels")),
             "classes")  # fmt: skip
    values = {_OTHER_NAMES.get(str(key), str(key)): value for key, value in table.items()}
    if unknown := [key for key in values if key not in known]:
        raise DataError(
            f"{said} has the key {unknown[0]!r}, which means nothing here; choose from "
            "train_images, train_labels, test_images, test_labels, classes, or train, test, classes"
        )
    splits = {name: split for name in _SPLITS if (split := _split(values, name, said)) is not None}
    if "train" not in splits:
        raise DataError(f"{said} has no training images; give train_images and train_labels")
    notes: tuple[str, ...] = ()
    validation = splits.pop("val", None)
    if validation is not None and "test" not in splits:
        splits["test"] = validation
    elif validation is not None:
        notes = (f"{validation.length:,} validation images are not used: validation is carved out "
                 "of train, the same for all",)  # fmt: skip
    for name, split in splits.items():
        if not split.length:
            raise DataError(f"{said}: the {name} split is empty; give images, or leave it out")
    classes = _classes(values, said)
    return Given(splits, classes, tuple(map(printable, notes)))


def _split(values: Mapping[str, Any], name: str, said: str) -> Split | None:
    said = f"{said}: {name}"
    whole, images, labels = (values.get(key) for key in (name, f"{name}_images", f"{name}_labels"))
    if whole is not None:
        _check_pairs(whole, said)
        return Pairs(whole, _columns(whole))
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        raise DataError(f"{said}_images and {name}_labels belong together; one is missing")
    array = any_image.as_array(images)
    if array is not None and not array.dtype.hasobject:
        return Arrays(array, labels, said, any_image.is_tensor(images))
    for each in (images, labels):
        _check_pairs(each, said)
    if len(images) != len(labels):
        raise DataError(f"{said} has {len(images)} images and {len(labels)} labels; give as many")
    return Pairs(list(zip(images, labels, strict=True)))


def _check_pairs(items: Any, said: str) -> None:
    try:
        len(items)
    except Exception:
        items = None
    if not hasattr(items, "__getitem__"):
        raise DataError(
            f"{said} has no length or no items by number; give a map-style Dataset, with __len__ "
            "and __getitem__, or arrays"
        )


def _classes(values: Mapping[str, Any], said: str) -> tuple[str, ...] | None:
    """The names that are given, or that the training data say themselves, as torchvision's do."""
    given = values.get("classes")
    if given is None:
        train = values.get("train")
        own = getattr(train, "classes", None)
        if (columns := _columns(train)) is not None:
            own = getattr(train.features[columns[1]], "names", None)  # type: ignore[union-attr]
        known = isinstance(own, list | tuple) and all(isinstance(name, str) for name in own)
        return tuple(own) if known and own else None
    array = any_image.as_array(given)
    names = tuple(given if array is None else array.tolist())
    if isinstance(given, str) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{said}: classes has to be a list of names, in the order of the labels")
    return names


def _columns(items: Any) -> tuple[str, str] | None:
    """The columns of images and labels of a Hugging Face Dataset, where its types say them."""
    kinds = getattr(items, "features", None)
    if not isinstance(kinds, Mapping):
        return None
    images = [name for name, kind in kinds.items() if type(kind).__name__ == "Image"]
    labels = [name for name in LABELS if name in kinds] or [
        name for name, kind in kinds.items() if type(kind).__name__ == "ClassLabel"
    ]
    return (images[0], labels[0]) if len(images) == 1 and labels else None


def _is_images(value: Any, in_list: bool = True) -> bool:
    """Whether a value is images alone, and no data set of images and labels."""
    if any_image.as_array(value) is not None or isinstance(value, str | bytes | int | float):
        return True
    is_list = isinstance(value, list | tuple)
    return is_list and in_list and bool(value) and not _is_pair(value[0])


def _is_pair(item: Any) -> bool:
    return isinstance(item, Mapping) or (isinstance(item, tuple | list) and len(item) == 2)


def _is_structure(found: Sequence[Any]) -> bool:
    """Whether a list is what a tuple is, and no data set: of arrays or, as torch's ``random_split``
    returns it, of data sets."""
    return any(
        any_image.as_array(each) is not None
        or (hasattr(each, "__getitem__") and hasattr(each, "__len__") and not _is_plain(each))
        for each in found
    )


def _is_plain(value: Any) -> bool:
    return isinstance(value, list | tuple | Mapping | str)


def _kind(found: Any) -> str:
    array = any_image.as_array(found)
    if array is not None:
        return f"one array of shape {array.shape}"
    return "None" if found is None else f"of type {type(found).__name__}"
