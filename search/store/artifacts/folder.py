"""A folder that all machines share as an artifact store."""

from __future__ import annotations

import contextlib
import errno
import shutil
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, unquote

from optuna.artifacts.exceptions import ArtifactNotFound

from tuneoff.files import make_folder, remove_parts, replacing
from tuneoff.retry import Patience
from tuneoff.search.errors import ArtifactError
from tuneoff.search.store.artifacts.base import Artifacts, Failures
from tuneoff.search.store.artifacts.framing import CHUNK

# Failures that no amount of waiting fixes.
LASTING_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


class FolderStore:
    """A folder as an Optuna ``ArtifactStore``; identifiers are paths in it.

    Unlike ``optuna.artifacts.FileSystemArtifactStore`` it writes aside, syncs and renames, so that
    a reader elsewhere finds an object whole or not at all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The object's bytes (ArtifactNotFound if it is not there)."""
        self._mounted()
        try:
            return (self.folder / artifact_id).open("rb")
        except FileNotFoundError:
            raise ArtifactNotFound(f"{self.folder} has no {artifact_id}") from None

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store an object; when this returns it survives a power cut."""
        self._mounted()
        path = self.folder / artifact_id
        make_folder(path.parent)
        with replacing(path) as file:
            shutil.copyfileobj(content_body, file, CHUNK)

    def remove(self, artifact_id: str) -> None:
        """Remove an object, and the folders that this leaves empty."""
        self._mounted()
        path = self.folder / artifact_id
        path.unlink(missing_ok=True)
        remove_parts(path)
        with contextlib.suppress(OSError):
            for parent in path.parents:
                if parent == self.folder:
                    break
                parent.rmdir()

    def _mounted(self) -> None:
        # Never made here: what looks missing is a share that is not mounted, as a rule.
        if not self.folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(self.folder))


def open_folder(url: str, parts: SplitResult, patience: Patience) -> Artifacts:
    """The store behind a ``file:`` URL (ArtifactError as ``open_artifacts``)."""
    folder = Path(unquote(parts.path))
    if parts.netloc or parts.query or parts.fragment or not folder.is_absolute():
        raise ArtifactError(f"{url!r} is no folder's URL; write file:///ABSOLUTE/FOLDER")
    try:
        there = folder.is_dir()
    except OSError as error:
        raise ArtifactError(f"{url}: cannot be used ({error.strerror}); fix that") from None
    if not there:
        raise ArtifactError(f"{url}: the folder {folder} does not exist; mount it, or make it")
    failures = Failures(
        (OSError,),
        lambda error: isinstance(error, OSError) and error.errno not in LASTING_ERRNOS,
        lambda error: (isinstance(error, OSError) and error.strerror) or str(error),
    )
    return Artifacts(url, FolderStore(folder), "", failures, patience)
