"""What a data set's folder holds that is not used, in a few lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set

from tuneoff.messages import printable
from tuneoff.trainer.data.files import Files
from tuneoff.trainer.data.formats import ending, is_foreign, is_image


def left_over(files: Files, used: Set[str], unused: Mapping[str, str]) -> tuple[str, ...]:
    """A line for each reason for which files are not used, with their number.

    Args:
        files: all that there are.
        used: names of those that are images of the data set.
        unused: folders that are not used, each with a slash at its end, and why.
    """
    inside: dict[str, list[str]] = {folder: [] for folder in unused}
    outside: list[str] = []
    foreign: list[str] = []
    others: list[str] = []
    for name in files.names:
        if name in used:
            continue
        folder = next((folder for folder in unused if name.startswith(folder)), None)
        if folder is not None:
            inside[folder].append(name)
        elif is_image(name):
            outside.append(name)
        elif is_foreign(name):
            foreign.append(name)
        else:
            others.append(name)
    notes = [
        f"not used: {folder} ({_counted(inside[folder])}): {why}" for folder, why in unused.items()
    ]
    if outside:
        notes.append(
            f"not used: {_number(outside, 'image')} outside of class folders; the first is "
            f"{outside[0]}"
        )
    if foreign:
        notes.append(
            f"not used: {_number(foreign, 'image')} in formats that cannot be decoded here "
            f"({_endings(foreign)}), the first {foreign[0]}; convert them to JPEG or PNG"
        )
    if others:
        notes.append(
            f"not used: {_number(others, 'file')} whose names do not end as those of images do "
            f"({_endings(others)})"
        )
    if files.links:
        notes.append(
            f"not used: {_number(files.links, 'link')} in the zip file, the first "
            f"{files.links[0]}; pack what they lead to"
        )
    return tuple(map(printable, notes))


def _counted(names: Sequence[str]) -> str:
    images = [name for name in names if is_image(name) or is_foreign(name)]
    return _number(images, "image") if images or not names else _number(names, "file")


def _number(of: Sequence[str], what: str) -> str:
    return f"{len(of)} {what}{'' if len(of) == 1 else 's'}"


def _endings(names: Sequence[str]) -> str:
    """How many names end how, the most frequent first: "3 .txt, 1 .csv"."""
    counts = Counter(ending(name) or "without an ending" for name in names).most_common()
    some = ", ".join(f"{number} {end}" for end, number in counts[:5])
    return f"{some}, ..." if len(counts) > 5 else some
