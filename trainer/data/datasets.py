"""The data sets by name: which files they hold, their labels, and how they are split."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tuneoff.trainer import seeding
from tuneoff.trainer.contract import Duplicates, Split
from tuneoff.trainer.data import decode
from tuneoff.trainer.data import pack as packed
from tuneoff.trainer.data.files import Files, open_files
from tuneoff.trainer.data.pack import Pack, PackWriter
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

Progress = Callable[[int, int], None]
"""Called with (images decoded, images in all)."""

TEST_SHARE = 0.2
_TEST_SEED = 0
_PROGRESS_EVERY = 256
_CHUNK = 32  # images that a thread takes at a time
_MOST_THREADS = 8  # above that they wait for the interpreter


@dataclass(frozen=True, slots=True)
class Listed:
    """One image of a data set, not yet decoded."""

    name: str
    label: int
    test: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """Every image of a data set with its label; ``titles`` name the classes for people."""

    classes: tuple[str, ...]
    images: tuple[Listed, ...]
    titles: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Packing:
    """How images are decoded where they are not in the cache.

    Attributes:
        cache: folder that keeps decoded images.
        progress: told how decoding goes.
        threads: that read and decode. They change nothing in the result.
    """

    cache: Path
    progress: Progress | None
    threads: int


def load(
    source: DataSource,
    cache: Path,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Pack:
    """The decoded images of a data set, from the cache where they are there.

    Args:
        source: which data set; ``validation``, ``split_seed`` and ``duplicates`` play no part
            here.
        cache: folder that keeps decoded images.
        progress: told how decoding goes.
        threads: that read and decode; as many as this process has cores, up to 8, unless given.

    Raises:
        DataError: the data set is missing, damaged or not what it says it is.
    """
    threads = threads or min(_cores(), _MOST_THREADS)
    return _REGISTRY[source.name](source, Packing(cache, progress, threads))


def splits(pack: Pack, source: DataSource) -> dict[Split, NDArray[np.int64]]:
    """Indices into the pack of each split; validation is carved out of train by class.

    With ``source.duplicates = "drop"`` the same images are carved, and then, by their pixels,

    * validation loses what is also in test, for selection must not see the test images. It
      keeps the rest, with several labels too, as test does: both measure the same;
    * train loses what is also in test or in validation, and what occurs with several labels.
      Copies within train that agree stay.

    Returns:
        Sorted int64 arrays. "keep": together they name each image once. "test" may be empty.

    Raises:
        DataError: train or validation would be empty.
    """
    found = _carved(pack, source)
    if source.duplicates == "drop":
        hashes = {split: pack.hashes[chosen] for split, chosen in found.items()}
        several = _with_several(pack, pack.labels)
        in_test = np.isin(hashes["validation"], hashes["test"])
        elsewhere = np.concatenate([hashes["test"], hashes["validation"], several])
        found["validation"] = found["validation"][~in_test]
        found["train"] = found["train"][~np.isin(hashes["train"], elsewhere)]
    counts = np.bincount(pack.labels[found["train"]], minlength=len(pack.classes))
    if not counts.all():
        name = pack.classes[int(counts.argmin())]
        or_keep = ', or set duplicates = "keep"' if source.duplicates == "drop" else ""
        raise DataError(
            f"class {name} has no training images; add some or remove the class{or_keep}"
        )
    for split, chosen in found.items():
        if len(chosen) < 2 and split != "test":
            raise DataError(
                f"the {split} split has {len(chosen)} images; add images or change validation "
                f"= {source.validation}"
            )
    return found


def duplicates(pack: Pack, source: DataSource) -> Duplicates:
    """How many images there are several times, and what that means for the splits."""
    split = np.empty(len(pack.labels), dtype=np.int64)
    for number, chosen in enumerate(_carved(pack, source).values()):
        split[chosen] = number
    _, counts = np.unique(pack.hashes, return_counts=True)
    kept = sum(len(chosen) for chosen in splits(pack, source).values())
    return Duplicates(
        groups=int((counts > 1).sum()),
        crossing=len(_with_several(pack, split)),
        conflicting=len(_with_several(pack, pack.labels)),
        dropped=len(pack.labels) - kept,
    )


def _carved(pack: Pack, source: DataSource) -> dict[Split, NDArray[np.int64]]:
    rest = np.flatnonzero(~pack.test)
    carved = stratified(pack.labels[rest], source.validation, "validation", source.split_seed)
    return {
        "train": rest[~carved],
        "validation": rest[carved],
        "test": np.flatnonzero(pack.test),
    }


def _with_several(pack: Pack, values: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The hashes of images that occur with more than one of ``values``, of shape (images,)."""
    order = np.lexsort((values, pack.hashes))
    hashes, values = pack.hashes[order], values[order]
    differ = (hashes[1:] == hashes[:-1]) & (values[1:] != values[:-1])
    return np.unique(hashes[1:][differ])


def stratified(labels: NDArray[np.int64], share: float, *stream: int | str) -> NDArray[np.bool_]:
    """Marks a random share of each class.

    A class of n images gives round(share * n) of them, but at least one and never all; a class
    of one image gives none.

    Args:
        labels: shape (images,).
        share: 0 to 1.
        stream: names the random stream, see ``seeding.words``.

    Returns:
        bool array of shape (images,).
    """
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(members))), len(members) - 1)
        order = seeding.permutation(len(members), *stream, int(label))
        chosen[members[order[:count]]] = True
    return chosen


def _digits(source: DataSource, packing: Packing) -> Pack:
    classes = tuple("0123456789")

    def build(writer: PackWriter) -> None:
        from sklearn.datasets import load_digits  # half a second that other data sets do not pay

        bunch = load_digits()
        grey = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
        labels = bunch.target.astype(np.int64)
        test = stratified(labels, TEST_SHARE, "digits-test", _TEST_SEED)
        for image, label, is_test in zip(grey, labels, test, strict=True):
            writer.add(np.repeat(image[:, :, None], 3, axis=2), int(label), bool(is_test))

    return packed.load_or_build(packing.cache, f"digits-{packed.FORMAT}", classes, build)


def _tiny_imagenet(source: DataSource, packing: Packing) -> Pack:
    files, root = _tiny_root(_path(source))
    return _pack_files(source, files, _list_tiny_imagenet(files, root), packing)


def _folder(source: DataSource, packing: Packing) -> Pack:
    files = open_files(_path(source))
    return _pack_files(source, files, _list_folder(files), packing)


_REGISTRY: Mapping[str, Callable[[DataSource, Packing], Pack]] = {
    "digits": _digits,
    "tiny-imagenet": _tiny_imagenet,
    "folder": _folder,
}


def _path(source: DataSource) -> Path:
    return Path(source.path or "").expanduser()


def _tiny_root(path: Path) -> tuple[Files, str]:
    # A folder may be given by its parent, which may hold anything else: do not walk that.
    inner = path / "tiny-imagenet-200"
    files = open_files(inner if inner.is_dir() else path)
    roots = [name.removesuffix("wnids.txt") for name in files.names if _is_wnids(name)]
    if not roots:
        raise DataError(
            f"{path} has no wnids.txt: it is not Tiny ImageNet; give the official "
            'tiny-imagenet-200.zip or its folder, or use data name = "folder"'
        )
    return files, min(roots, key=len)


def _is_wnids(name: str) -> bool:
    return PurePosixPath(name).name == "wnids.txt"


def _list_tiny_imagenet(files: Files, root: str) -> Listing:
    classes = tuple(_text(files, f"{root}wnids.txt").split())
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise DataError(f"{files.where}: wnids.txt must name at least two classes, each once")
    label = {name: number for number, name in enumerate(classes)}

    images = []
    counts: Counter[str] = Counter()
    for name in _images_below(files, f"{root}train/"):
        wnid = name.removeprefix(f"{root}train/").split("/")[0]
        if wnid not in label:
            raise DataError(f"{files.where}: train class {wnid} is not in wnids.txt")
        counts[wnid] += 1
        images.append(Listed(name, label[wnid], test=False))
    for wnid in classes:
        if not counts[wnid]:
            raise DataError(f"{files.where}: class {wnid} has no training images; fetch it again")

    val = _images_below(files, f"{root}val/")
    annotated = _annotations(files, f"{root}val/val_annotations.txt") if val else {}
    for name in val:
        found = annotated.get(PurePosixPath(name).name)
        if found not in label:
            raise DataError(
                f"{files.where}: val_annotations.txt gives {name} no class of wnids.txt; "
                "fetch it again"
            )
        images.append(Listed(name, label[found], test=True))
    return Listing(classes, tuple(images), _titles(files, f"{root}words.txt", classes))


def _titles(files: Files, name: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    """What words.txt calls each class: lines of wnid, tab, names."""
    if name not in files.names:
        return classes
    rows = (line.partition("\t") for line in _text(files, name).splitlines())
    words = {wnid: title.strip() for wnid, _, title in rows}
    return tuple(words.get(wnid) or wnid for wnid in classes)


def _annotations(files: Files, name: str) -> dict[str, str]:
    if name not in files.names:
        raise DataError(f"{files.where} has no {name}, so its val images have no labels")
    rows = [line.split("\t") for line in _text(files, name).splitlines() if line.strip()]
    return {row[0]: row[1].strip() for row in rows if len(row) > 1}


def _list_folder(files: Files) -> Listing:
    root = _common_root(files)
    names = [name.removeprefix(root) for name in files.names if name.startswith(root)]
    tops = {name.split("/")[0] for name in names if "/" in name}
    if "train" not in tops:
        return _carve_test(files, root)
    train = _classes_below(files, f"{root}train/")
    test_name = next((name for name in ("test", "val") if name in tops), None)
    test = _classes_below(files, f"{root}{test_name}/") if test_name else {}
    classes = _class_names(files, train)
    images = [Listed(n, classes.index(c), test=False) for c in classes for n in train[c]]
    for name, members in test.items():
        if name not in train:
            raise DataError(
                f"{files.where}: class {name} is in {test_name}/ but not in train/; "
                "remove it or add training images"
            )
        images += [Listed(member, classes.index(name), test=True) for member in members]
    return Listing(classes, tuple(images))


def _carve_test(files: Files, root: str) -> Listing:
    found = _classes_below(files, root)
    classes = _class_names(files, found)
    names = [name for c in classes for name in found[c]]
    labels = np.repeat(np.arange(len(classes)), [len(found[c]) for c in classes])
    test = stratified(labels, TEST_SHARE, "folder-test", _TEST_SEED)
    rows = zip(names, labels, test, strict=True)
    return Listing(classes, tuple(Listed(n, int(la), bool(t)) for n, la, t in rows))


def _classes_below(files: Files, root: str) -> dict[str, list[str]]:
    """The images in each class folder below ``root``."""
    found: dict[str, list[str]] = {}
    for name in files.names:
        inside = name.removeprefix(root)
        if name.startswith(root) and "/" in inside:
            members = found.setdefault(inside.split("/")[0], [])
            if _is_image(name):
                members.append(name)
    for folder in files.folders:
        inside = folder.removeprefix(root)
        if folder.startswith(root) and inside and "/" not in inside:
            found.setdefault(inside, [])
    for name, members in found.items():
        if not members:
            raise DataError(
                f"{files.where}: class folder {root}{name} has no images; add some or remove it"
            )
    return found


def _class_names(files: Files, found: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    if len(found) < 2:
        raise DataError(
            f"{files.where} has {len(found)} class folders with images; it needs at least two, "
            "as in CLASS/image.jpg or train/CLASS/image.jpg"
        )
    return tuple(sorted(found))


def _common_root(files: Files) -> str:
    """The folders that hold everything else, such as the one at the top of most zip files."""
    root = ""
    while True:
        tops = {name.removeprefix(root).split("/")[0] for name in files.names}
        top = f"{root}{next(iter(tops))}/" if len(tops) == 1 else ""
        if not top or tops == {"train"} or not all(name.startswith(top) for name in files.names):
            return root
        root = top


def _pack_files(source: DataSource, files: Files, listing: Listing, packing: Packing) -> Pack:
    # Everything that changes the pixels or which images there are; the split is not among them.
    resized = source.image_size if source.name == "folder" else None
    parts = (packed.FORMAT, source.name, files.identity, source.corrupt, resized)
    key = f"{source.name}-{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}"

    def build(writer: PackWriter) -> None:
        with decode.quiet(), ThreadPoolExecutor(packing.threads) as pool:
            size = _stored_size(source, files, listing, packing, pool)
            found = _decoded(source, files, listing.images, size, packing, pool)
            for image, pixels, hashed in found:
                if pixels.shape[:2] != size:
                    raise DataError(
                        f"{files.where}: {image.name} has {pixels.shape[1]} x {pixels.shape[0]} "
                        f"pixels, others {size[1]} x {size[0]}; fetch it again"
                    )
                writer.add(pixels, image.label, image.test, hashed)

    return packed.load_or_build(packing.cache, key, listing.classes, build, listing.titles)


def _stored_size(
    source: DataSource,
    files: Files,
    listing: Listing,
    packing: Packing,
    pool: ThreadPoolExecutor,
) -> tuple[int, int]:
    """(height, width) in which images are kept: their own if it is the same for all."""

    def measure(image: Listed) -> tuple[int, int] | None:
        try:
            return decode.size(files.read(image.name))
        except decode.CannotDecodeError:
            return None  # reported, or skipped, when its turn to be decoded comes

    sizes: Counter[tuple[int, int]] = Counter()
    for size in _in_order(measure, listing.images, pool, packing.threads):
        if size is not None:
            sizes[size] += 1
            if source.name == "tiny-imagenet":
                break
    if not sizes:
        raise DataError(f"{files.where}: {listing.images[0].name} is not an image; none is")
    if len(sizes) == 1:
        height, width = next(iter(sizes))
        if height == width or source.image_size is None:
            return height, width
    if source.image_size is None:
        (a, b), (c, d) = [size for size, _ in sizes.most_common(2)]
        raise DataError(
            f"{files.where} has images of different sizes, such as {b} x {a} and {d} x {c} "
            "pixels; set image_size"
        )
    return source.image_size, source.image_size


def _decoded(
    source: DataSource,
    files: Files,
    images: Sequence[Listed],
    size: tuple[int, int],
    packing: Packing,
    pool: ThreadPoolExecutor,
) -> Iterator[tuple[Listed, decode.Pixels, int]]:
    """Each image with its pixels and their ``packed.pixel_hash``, in the order of ``images``."""

    def work(image: Listed) -> tuple[decode.Pixels, int] | None:
        try:
            pixels = decode.decode(files.read(image.name))
        except decode.CannotDecodeError as error:
            if source.corrupt == "refuse":
                raise DataError(
                    f"{files.where}: {image.name} cannot be decoded ({error}); fix or remove it, "
                    'or set corrupt = "skip"'
                ) from error
            return None
        if source.name == "folder":
            pixels = decode.fit(pixels, *size)
        return pixels, packed.pixel_hash(pixels)

    progress = packing.progress or (lambda done, of_all: None)
    skipped: list[str] = []
    found = _in_order(work, images, pool, packing.threads)
    for done, (image, one) in enumerate(zip(images, found, strict=True)):
        if done % _PROGRESS_EVERY == 0:
            progress(done, len(images))
        if one is None:
            skipped.append(image.name)
        else:
            yield image, *one
    progress(len(images), len(images))
    if skipped:
        log.warning(
            "%s: %d of %d images cannot be decoded and are left out; the first is %s",
            files.where,
            len(skipped),
            len(images),
            skipped[0],
        )


def _in_order(
    work: Callable[[T], R], items: Sequence[T], pool: ThreadPoolExecutor, threads: int
) -> Iterator[R]:
    """What ``work`` makes of each item, in their order; the threads are a little ahead.

    Whatever the threads do, the error that is raised is that of the first item that has one.
    """

    def chunk(start: int) -> tuple[list[R], Exception | None]:
        done: list[R] = []
        try:
            done.extend(work(item) for item in items[start : start + _CHUNK])
        except Exception as error:
            return done, error
        return done, None

    starts = iter(range(0, len(items), _CHUNK))
    ahead: deque[Future[tuple[list[R], Exception | None]]] = deque()
    try:
        while True:
            ahead.extend(pool.submit(chunk, s) for s in islice(starts, 2 * threads - len(ahead)))
            if not ahead:
                return
            done, error = ahead.popleft().result()
            yield from done
            if error is not None:
                raise error
    finally:
        for waiting in ahead:
            waiting.cancel()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Images to predict.

    Attributes:
        names: file names, in natural order (test_2 before test_10).
        images: yields uint8 arrays of shape (height, width, 3), in the order of ``names``.
    """

    names: tuple[str, ...]
    images: Callable[[], Iterator[decode.Pixels]]


def unlabelled(path: Path) -> Unlabelled:
    """The images to predict at a path.

    Args:
        path: an image, a folder or zip file of images, or Tiny ImageNet (zip file or
            folder), of which these are the official test images.

    Raises:
        DataError: there are no images, or (from ``images``) one cannot be decoded.
    """
    if path.is_file() and _is_image(path.name):
        return Unlabelled((path.name,), lambda: iter([_decode_or_refuse(path.read_bytes(), path)]))
    inner = path / "tiny-imagenet-200"
    files = open_files(inner if inner.is_dir() else path)
    names = [name for name in files.names if _is_image(name)]
    roots = [name.removesuffix("wnids.txt") for name in files.names if _is_wnids(name)]
    if roots:
        test = f"{min(roots, key=len)}test/"
        names = [name for name in names if name.startswith(test)]
    if not names:
        raise DataError(f"{path} has no images to predict; give a folder that has some")
    names.sort(key=_natural)

    def images() -> Iterator[decode.Pixels]:
        for name in names:
            yield _decode_or_refuse(files.read(name), f"{files.where}: {name}")

    return Unlabelled(tuple(names), images)


def _decode_or_refuse(encoded: bytes, name: object) -> decode.Pixels:
    try:
        with decode.quiet():
            return decode.decode(encoded)
    except decode.CannotDecodeError as error:
        raise DataError(f"{name} cannot be decoded ({error}); fix or remove it") from error


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"([0-9]+)", name)]


def _is_image(name: str) -> bool:
    return name.lower().endswith(decode.EXTENSIONS)


def _images_below(files: Files, root: str) -> list[str]:
    return [name for name in files.names if name.startswith(root) and _is_image(name)]


def _text(files: Files, name: str) -> str:
    try:
        return files.read(name).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{files.where}: {name} is not text; fetch it again") from error
