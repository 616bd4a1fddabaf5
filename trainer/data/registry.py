"""The names of the data sets. Another one is a file in ``sources`` and an entry here."""

from __future__ import annotations

from dataclasses import dataclass

from tuneoff.registry import Entry, Registry


@dataclass(frozen=True)
class Remote:
    """A file of the network.

    Attributes:
        url: http or https.
        md5: the file's MD5, hexadecimal.
    """

    url: str
    md5: str

    @property
    def file_name(self) -> str:
        """The file's name, without its folders."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class DataSet(Entry):
    """What a data set's name stands for.

    ``target`` is a ``sources.base.Source``: a function that returns the decoded images.

    Attributes:
        side: side of its images in pixels where ``DataSource.image_size`` is not set, as far as it
            is known without reading them.
        needs_path: whether ``DataSource.path`` must say where its zip file or folder is.
        scaled: whether images are scaled before they are stored, for they may have any size. False
            where all have the same size.
        remote: the file that ``tuneoff data prepare`` fetches; None if there is none.
    """

    side: int
    needs_path: bool = True
    scaled: bool = False
    remote: Remote | None = None


DATASETS = Registry(
    "data set",
    {
        "digits": DataSet(
            "tuneoff.trainer.data.sources.digits:load",
            "1,797 grey images of handwritten digits, 8 x 8 pixels; scikit-learn brings them",
            side=8,
            needs_path=False,
        ),
        "tiny-imagenet": DataSet(
            "tuneoff.trainer.data.sources.tiny_imagenet:load",
            "Tiny ImageNet, 200 classes, 64 x 64 pixels: the official zip file or its folder",
            side=64,
            # The MD5 that is commonly published for this file.
            remote=Remote(
                "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
                "90528d7ca1a48142e341f4ef8d21d0de",
            ),
        ),
        "folder": DataSet(
            "tuneoff.trainer.data.sources.folder:load",
            "a folder or zip file of your own images: train/CLASS/*.jpg, and test/ or val/ alike",
            side=64,
            scaled=True,
        ),
    },
)
