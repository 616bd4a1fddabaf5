"""A data set in a CSV file of your own: ``path,label`` and, if there are splits, ``split``."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tuneoff.messages import first_line
from tuneoff.trainer.data.files import identity_of_files, read_file, size_of
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.data.packing import Packing
from tuneoff.trainer.data.sources.base import (
    TEST_SEED,
    TEST_SHARE,
    Listed,
    Listing,
    pack_files,
    path_of,
)
from tuneoff.trainer.data.sources.labels import numbered
from tuneoff.trainer.data.splits import stratified
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource

_NEEDED = ("path", "label")
_NUMBER = re.compile(r"\d{1,9}")
_SPLITS = {"": "train", "train": "train", "test": "test", "val": "val", "valid": "val",
           "validation": "val"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    path: str
    label: str
    split: str


class Named:
    """The files that a table names, by their paths from the table's folder; see ``files.Files``."""

    folders: tuple[str, ...] = ()
    links: tuple[str, ...] = ()

    def __init__(self, table: Path, names: Iterable[str]) -> None:
        self._folder = table.parent
        self.where = str(table)
        self.names = tuple(sorted(set(names)))

    def size(self, name: str) -> int:
        return size_of(self._folder / name)

    def read(self, name: str) -> bytes:
        return read_file(self._folder / name)


def load(source: DataSource, packing: Packing) -> Pack:
    """The images that a CSV file names, see ``base.Source``.

    Its first line names the columns, of which others than these do not count. Paths are absolute
    or from the file's folder, and labels are names of classes or their numbers from 0 on. A row's
    split is "train", which is meant where it is empty, "test" or "val", which is the test split
    where no row says "test". Without any, a fifth of each class becomes the test split.
    """
    path = path_of(source)
    rows = _read(path)
    return pack_files(source, path, lambda _: _listing(path, rows), packing, _identity(path, rows))


def _read(path: Path) -> list[_Row]:
    try:
        # Editors on Windows and Excel begin a file with a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, strict=True)
            columns = table.fieldnames or ()
            if missing := [name for name in _NEEDED if name not in columns]:
                raise DataError(
                    f"{path} has no column {missing[0]}; its first line has to name the columns "
                    f"path and label, and not {', '.join(columns) or 'nothing'}"
                )
            rows = [_row(row, path, table.line_num) for row in table]
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check data.path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} is no CSV file in UTF-8 ({first_line(error)}); save it as one"
        ) from error
    if not any(row.split == "train" for row in rows):
        raise DataError(f"{path} has no rows of training images; add some")
    return rows


def _row(row: dict[str, str | None], path: Path, line: int) -> _Row:
    name, label = (_cell(row, column, path, line) for column in _NEEDED)
    return _Row(line, name, label, _split(row, path, line))


def _cell(row: dict[str, str | None], name: str, path: Path, line: int) -> str:
    value = (row[name] or "").strip()
    if not value:
        raise DataError(f"{path}, line {line}: {name} is empty; fill it in or remove the line")
    if "\0" in value:
        raise DataError(f"{path}, line {line}: {name} has a NUL character; correct it")
    return value


def _split(row: dict[str, str | None], path: Path, line: int) -> str:
    value = (row.get("split") or "").strip()
    if value.lower() not in _SPLITS:
        raise DataError(f"{path}, line {line}: split is {value!r}; write train, test or val")
    return _SPLITS[value.lower()]


def _identity(path: Path, rows: list[_Row]) -> str:
    lines = {row.path: row.line for row in rows}
    for name, line in lines.items():
        if not (path.parent / name).is_file():
            raise DataError(
                f"{path}, line {line}: there is no file {name}; paths are from the folder of "
                "the CSV file"
            )
    return identity_of_files([path, *(path.parent / name for name in lines)])


def _listing(path: Path, rows: list[_Row]) -> Listing:
    splits = {row.split for row in rows}
    unused = "val" if "test" in splits else None
    used = [row for row in rows if row.split != unused]
    are_numbers = all(_NUMBER.fullmatch(row.label) for row in used)
    labels = [int(row.label) if are_numbers else row.label for row in used]
    test = [row.split != "train" for row in used]
    numbers, classes = numbered(labels, test, None, str(path))
    if splits == {"train"}:
        test = stratified(numbers, TEST_SHARE, "own-test", TEST_SEED).tolist()
    images = tuple(
        Listed(row.path, int(number), is_test)
        for row, number, is_test in zip(used, numbers, test, strict=True)
    )
    left_out = len(rows) - len(used)
    notes = (f"{left_out:,} validation images are not used: validation is carved out of train, the "
             "same for all",) if left_out else ()  # fmt: skip
    return Listing(Named(path, (row.path for row in used)), classes, images, notes=notes)
