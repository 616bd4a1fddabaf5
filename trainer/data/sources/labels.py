"""Labels of a user's own, numbers or names of classes, to numbers of classes."""

from __future__ import annotations

from collections.abc import Sequence, Set
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneoff.messages import printable
from tuneoff.trainer.errors import DataError

Label = int | str


def plain(label: Any) -> Label:
    """A label as a whole number or a word (ValueError, of a few words, if it is neither)."""
    if hasattr(label, "item") and getattr(label, "shape", None) in ((), (1,)):
        label = label.item()
    if isinstance(label, str):
        return label
    if isinstance(label, Integral | float) and float(label).is_integer():
        return int(label)
    shape = getattr(label, "shape", None)
    said = f"has shape {tuple(shape)}" if shape else f"is {str(label)[:40]!r}"
    raise ValueError(f"a label {said}; give the number or the name of a class")


def numbered(
    labels: Sequence[Label], test: Sequence[bool], classes: Sequence[str] | None, said: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Labels as numbers from 0 on, and the names of the classes in their order.

    Names of classes are sorted, as those of folders are.

    Args:
        labels: of all images; all numbers or all names.
        test: whether each image belongs to the test split, or each is False.
        classes: names of the classes in the order of their numbers, where they are known.
        said: the data set, as messages call it.

    Returns:
        int64 array of shape (images,), and the names.

    Raises:
        DataError: numbers are not 0 to n - 1, or a class has no training images or no name.
    """
    words = {label for label in labels if isinstance(label, str)}
    if words and len(words) < len(set(labels)):
        raise DataError(f"{said}: some labels are names and some numbers; give one or the other")
    learned = {label for label, is_test in zip(labels, test, strict=True) if not is_test}
    if words:
        known: list[Label] = list(classes) if classes is not None else sorted(learned, key=str)
    else:
        numbers = {int(label) for label in learned}
        count = len(classes) if classes is not None else max(numbers, default=-1) + 1
        if classes is None and (missing := _not_all(numbers, count)):
            raise DataError(f"{said}: {missing}; number the classes 0 to n - 1, or give names")
        known = list(range(count))
    number = {label: at for at, label in enumerate(known)}
    unknown = next((label for label in labels if label not in number), None)
    if unknown is not None:
        kind = "class" if classes is not None else "class of the training images"
        raise DataError(f"{said}: a label is {unknown!r}, which is no {kind}; correct it")
    if len(known) < 2:
        raise DataError(f"{said}: there is {len(known)} class; a classifier needs at least two")
    names = tuple(printable(str(name)) for name in (known if classes is None else classes))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{said}: two classes are called {twice}; give each a name of its own")
    return np.array([number[label] for label in labels], dtype=np.int64), names


def _not_all(numbers: Set[int], count: int) -> str:
    """What is wrong with numbers that are to be all of 0 to ``count`` - 1; "" if nothing is."""
    if min(numbers, default=0) < 0:
        return f"a label is {min(numbers)}"
    if len(numbers) == count:
        return ""
    missing = next(each for each in range(count) if each not in numbers)
    return f"labels go up to {count - 1}, but no training image has label {missing}"
