"""Which folders of a data set hold training images, which test images, and which classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tuneoff.trainer.data.files import Files
from tuneoff.trainer.errors import DataError

# What splits are called, whatever the case: also training_set, test-images or val2017.
_SPLIT = re.compile(
    "(?:(?P<train>train(?:ing)?)|(?P<validation>val(?:id(?:ation)?)?|dev)|(?P<test>test(?:ing)?))"
    "(?:[-_ ]?(?:set|data|images?|[0-9]{4}))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Folders as relative paths with a slash at their end; "" is the top.

    Attributes:
        train: holds a folder for each class.
        test: holds a folder for each class; None if there is none.
        has_splits: whether there are folders of splits. Without them, ``train`` holds everything.
        unused: the folders that are not used, and why.
    """

    train: str
    test: str | None
    has_splits: bool
    unused: Mapping[str, str]


def find_layout(files: Files) -> Layout:
    """The layout of a data set.

    A folder that holds all images is looked into, such as the one at the top of most zip files.

    Raises:
        DataError: it cannot be told which images are for training or which for the test.
    """
    root, unused = _common_root(files)
    tops = folders_in(files, root)
    train = [top for top in tops if _split_of(top) == "train"]
    if not train:
        _refuse_splits_as_classes(files, root, tops)
        return Layout(root, None, False, unused)
    if len(train) > 1:
        raise DataError(
            f"{files.where} has several folders of training images ({_list(train)}); keep one"
        )
    classes = set(folders_in(files, f"{root}{train[0]}/"))
    test, unlabelled = _test_folder(files, root, tops, classes)
    for top in tops:
        if top in (*train, test):
            continue
        if top in unlabelled:
            why = "it has no folders named as those of the classes"
        elif _split_of(top) == "validation":
            why = f"validation images are carved out of {train[0]}/"
        elif _split_of(top) == "test":
            why = f"{test}/ is the test split"
        else:
            why = "its name is not that of a split"
        unused[f"{root}{top}/"] = why
    return Layout(f"{root}{train[0]}/", test and f"{root}{test}/", True, unused)


def folders_in(files: Files, root: str) -> list[str]:
    """The names of the folders in a folder (a path with a slash at its end, or ""), sorted."""
    inside = (name[len(root) :] for name in files.folders if name.startswith(root))
    return sorted({name.split("/")[0] for name in inside} - {""})


def _split_of(folder: str) -> str | None:
    """The split that a folder of this name holds; None if it is the name of none."""
    found = _SPLIT.fullmatch(folder)
    return found and found.lastgroup


def _test_folder(
    files: Files, root: str, tops: list[str], classes: set[str]
) -> tuple[str | None, list[str]]:
    """The folder of the test split, and those before it that have no labels.

    It is one named test, or else validation, preferably one that has folders named as classes.
    """
    unlabelled = []
    for split in ("test", "validation"):
        found = [top for top in tops if _split_of(top) == split]
        labelled = [t for t in found if classes.intersection(folders_in(files, f"{root}{t}/"))]
        if len(labelled) > 1:
            raise DataError(
                f"{files.where} has several folders of test images ({_list(labelled)}); keep one"
            )
        unlabelled += [top for top in found if top not in labelled]
        if labelled:
            return labelled[0], unlabelled
    # With folders of other names, it is the folders that are wrong, and whoever lists them says so.
    for top in unlabelled:
        if folders_in(files, f"{root}{top}/"):
            return top, [other for other in unlabelled if other != top]
    return None, unlabelled


def _refuse_splits_as_classes(files: Files, root: str, tops: list[str]) -> None:
    """DataError if folders that would be taken for classes are splits."""
    splits = [top for top in tops if _split_of(top)]
    classes = [top for top in tops if top not in splits]
    if splits and not classes:
        raise DataError(
            f"{files.where} has {_list(splits)} but no train/; name the folder of the training "
            "images so"
        )
    for top in splits:
        if folders_in(files, f"{root}{top}/"):
            raise DataError(
                f"{files.where} has {top}/, with folders in it, beside {_list(classes[:1])}; put "
                f"the folders of the training images' classes into train/, or rename {top}/"
            )


def _list(names: list[str]) -> str:
    return ", ".join(f"{name}/" for name in names)


def _common_root(files: Files) -> tuple[str, dict[str, str]]:
    """The folder, "" or with a slash at its end, whose folders are classes or splits; and the
    folders outside of it, with why they are not used."""
    root = ""
    outside: dict[str, str] = {}
    while True:
        tops = folders_in(files, root)
        filled = {name[len(root) :].split("/")[0] for name in files.names if name.startswith(root)}
        found = [top for top in tops if top in filled]
        if len(found) != 1 or _split_of(found[0]):
            return root, outside
        inner = f"{root}{found[0]}/"
        if not folders_in(files, inner):
            return root, outside
        outside |= {f"{root}{top}/": "it is empty" for top in tops if top not in found}
        root = inner
