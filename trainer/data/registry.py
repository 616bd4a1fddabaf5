"""The names of the data sets. Another one is a file in ``sources`` and an entry here."""

from __future__ import annotations

from dataclasses import dataclass

from tuneoff import references
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
        needs_path: whether ``DataSource.path`` must say where its files are.
        kind: what lies at that path, for messages.
        scaled: whether images are scaled before they are stored, for they may have any size. False
            where all have the same size.
        remote: the file that ``tuneoff data prepare`` fetches; None if there is none.
    """

    side: int
    needs_path: bool = True
    kind: str = "a zip file or a folder"
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
        "trashnet": DataSet(
            "tuneoff.trainer.data.sources.trashnet:load",
            "1,500 photographs of rubbish in 6 classes, 64 x 64 pixels; tuneoff brings them",
            side=64,
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
        "csv": DataSet(
            "tuneoff.trainer.data.sources.table:load",
            "a CSV file of your own images: columns path, label and, if you like, split",
            side=64,
            kind="a CSV file with the columns path and label",
            scaled=True,
        ),
        "npz": DataSet(
            "tuneoff.trainer.data.sources.npz:load",
            "a NumPy file of your own: train_images, train_labels, and test_ alike",
            side=8,
            kind="an .npz file",
        ),
        "datasets": DataSet(
            "tuneoff.trainer.data.sources.saved_datasets:load",
            "a folder that Hugging Face's datasets wrote with save_to_disk (extra datasets)",
            side=8,
            kind="a folder that save_to_disk wrote",
        ),
    },
)

_OWN = DataSet(
    "tuneoff.trainer.data.sources.own:load", "a function of your own", side=8, needs_path=False
)


def entry(name: str) -> DataSet:
    """All that is known of a data set by its name, be it in ``DATASETS`` or a reference
    "module:function".

    Raises:
        ValueError: it is neither.
    """
    if not references.is_reference(name):
        return DATASETS.entry(name)
    references.check(name, "data.name")
    return _OWN
