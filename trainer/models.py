"""The models by name, their pretrained weights, and a head for the classes at hand."""

from __future__ import annotations

import hashlib
import math
import re
import urllib.error
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from filelock import FileLock
from torch import Tensor, nn

from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.recipe import Recipe

# By what a recipe calls them. The paper's (2017) are V1; torchvision's DEFAULT is V2 where it has
# them.
IMAGENET_WEIGHTS: Mapping[str, Mapping[str, str]] = {
    "imagenet": {
        "resnet18": "ResNet18_Weights.IMAGENET1K_V1",
        "resnet34": "ResNet34_Weights.IMAGENET1K_V1",
        "resnet50": "ResNet50_Weights.IMAGENET1K_V1",
        "resnet101": "ResNet101_Weights.IMAGENET1K_V1",
        "resnet152": "ResNet152_Weights.IMAGENET1K_V1",
        "densenet121": "DenseNet121_Weights.IMAGENET1K_V1",
    },
    "imagenet-v2": {
        "resnet50": "ResNet50_Weights.IMAGENET1K_V2",
        "resnet101": "ResNet101_Weights.IMAGENET1K_V2",
        "resnet152": "ResNet152_Weights.IMAGENET1K_V2",
    },
}
PRETRAINED = tuple(IMAGENET_WEIGHTS["imagenet"])

# DenseNet's published weights carry names from before torch 0.4 ("denselayer1.norm.1.weight").
_OLD_DENSENET_NAME = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")


def build(recipe: Recipe, classes: int, seed: int, titles: Sequence[str] = ()) -> nn.Module:
    """The recipe's model on the CPU, its weights loaded and its head made for ``classes``.

    Args:
        recipe: gives ``model``, ``weights``, ``head`` and ``memory_efficient``.
        classes: number of outputs.
        seed: of whatever is initialised at random: all of it, or just a new head.
        titles: the classes in words, in label order; for ``head = "imagenet"``.

    Returns:
        A module that maps float (batch, 3, height, width) to (batch, classes).

    Raises:
        ModelError: the weights are missing, damaged or do not fit.
    """
    # torch and torchvision initialise from the global generator: lend it ours.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if recipe.weights == "none":
            return skeleton(recipe, classes)
        state = _weights(recipe)
        model = skeleton(recipe, _outputs(recipe, state))
        _require_fit(recipe, model, state)
        model.load_state_dict(state, strict=False)
        if recipe.head == "imagenet":
            _select_rows(model, category_rows(recipe, titles))
        elif recipe.weights in IMAGENET_WEIGHTS or head(model).out_features != classes:
            _replace_head(model, classes)
        return model


def check(recipe: Recipe, height: int, width: int, titles: Sequence[str] = ()) -> None:
    """Makes sure that ``build`` will work, fetching ImageNet weights if need be, that the model
    takes images of this size, and that it has the layers that the recipe names.

    Cheap: shapes are compared, and an image is passed through, on a model without memory.

    Raises:
        ModelError: the weights are missing, damaged or do not fit, the images are too small, or
            there is no such layer.
    """
    with torch.device("meta"):
        if recipe.weights == "none":
            model = skeleton(recipe, 2)
        else:
            state = _weights(recipe)
            model = skeleton(recipe, _outputs(recipe, state))
            _require_fit(recipe, model, state)
        if recipe.head == "imagenet":
            category_rows(recipe, titles)
        _require_layers(recipe, model)
        if recipe.model in _PROXIES:
            return  # they take every size that a DataSource may ask for
        side = recipe.start_size
        try:
            model(torch.empty(2, 3, side or height, side or width))
        except RuntimeError as error:
            raise ModelError(
                f"{recipe.model} cannot take images of {side or width} x {side or height} pixels; "
                f"set {'start_size' if side else 'image_size'} = 32 or more"
            ) from error


def trains_in_bf16(model: str, height: int, width: int, device: torch.device) -> bool:
    """False where PyTorch is wrong: of a strided 3 x 3 convolution on a 1 x 1 map in bf16, oneDNN
    leaves parts of the weights' gradient uninitialised (seen with torch 2.15, oneDNN 3.13). A
    ResNet's last stage is such up to 16 px."""
    return not (device.type == "cpu" and model.startswith("resnet") and min(height, width) <= 16)


def skeleton(recipe: Recipe, classes: int) -> nn.Module:
    """The recipe's model with ``classes`` outputs, initialised at random on torch's default
    device; its weights are not looked at."""
    if recipe.model in _PROXIES:
        return _PROXIES[recipe.model](classes)
    # Here and not above: importing torchvision takes seconds, which proxies need not pay.
    from torchvision.models import get_model

    extra = {"memory_efficient": True} if recipe.memory_efficient else {}
    made = cast(nn.Module, get_model(recipe.model, weights=None, num_classes=classes, **extra))
    if recipe.memory_efficient:
        _halve_updates(made)
    return made


def _halve_updates(model: nn.Module) -> None:
    """Computed again in the backward pass, these layers update their statistics twice a step. Two
    updates with 1 - sqrt(1 - momentum) are one with momentum."""
    for name, module in model.named_modules():
        if name.endswith(".norm1") and isinstance(module, nn.BatchNorm2d):
            module.momentum = 1 - math.sqrt(1 - (module.momentum or 0.0))


def head(model: nn.Module) -> nn.Linear:
    """The last layer: it alone knows the classes."""
    return cast(nn.Linear, getattr(model, _head_name(model)))


def _head_name(model: nn.Module) -> str:
    return "classifier" if hasattr(model, "classifier") else "fc"


def _replace_head(model: nn.Module, classes: int) -> None:
    setattr(model, _head_name(model), nn.Linear(head(model).in_features, classes))


def _select_rows(model: nn.Module, rows: Sequence[int]) -> None:
    old = head(model)
    _replace_head(model, len(rows))
    with torch.no_grad():
        head(model).weight.copy_(old.weight[list(rows)])
        head(model).bias.copy_(old.bias[list(rows)])


def category_rows(recipe: Recipe, titles: Sequence[str]) -> list[int]:
    """Which of ImageNet's classes each class is, by its name.

    Args:
        recipe: gives the weights, which come with the names of ImageNet's 1,000 classes.
        titles: names of the classes, each one or several with commas between, as in WordNet's
            "goldfish, Carassius auratus".

    Raises:
        ModelError: a class has the name of none of them, or of several.
    """
    from torchvision.models import get_weight

    weights = IMAGENET_WEIGHTS[recipe.weights].get(recipe.model, "")
    categories: dict[str, list[int]] = {}
    for row, category in enumerate(get_weight(weights).meta["categories"] if weights else ()):
        categories.setdefault(category, []).append(row)
    folded: dict[str, list[int]] = {}
    for category, of in categories.items():
        folded.setdefault(category.lower(), []).extend(of)
    rows = []
    for title in titles:
        names = [part.strip() for part in title.split(",")]
        # As it is written first: Cardigan is a dog, and cardigan is not.
        matches = [categories.get(name) for name in names]
        matches += [folded.get(name.lower()) for name in names]
        found = next(filter(None, matches), [])
        if len(found) != 1:
            raise ModelError(
                f'class "{title}" has the name of {len(found) or "no"} ImageNet class'
                f'{"es" if len(found) > 1 else ""}; set head = "new"'
            )
        rows += found
    return rows


def _require_layers(recipe: Recipe, model: nn.Module) -> None:
    names = [name for name, _ in model.named_parameters()]
    for prefix in recipe.layer_decay:
        if not any(starts_with(name, prefix) for name in names):
            layers = ", ".join(name for name, _ in model.named_children())
            raise ModelError(
                f"layer_decay: {recipe.model} has no layer {prefix!r}; it has: {layers}"
            )


def starts_with(name: str, prefix: str) -> bool:
    """Whether a dotted name lies at or below another: "layer1.0.conv1" below "layer1"."""
    return f"{name}.".startswith(f"{prefix}.")


def _outputs(recipe: Recipe, state: Mapping[str, Tensor]) -> int:
    """Classes of the head in a state dict."""
    name = "classifier.weight" if recipe.model == "densenet121" else "fc.weight"
    if name not in state or state[name].ndim != 2:
        raise ModelError(f"{recipe.weights} has no head {name}: it is not a {recipe.model}")
    return len(state[name])


def _require_fit(recipe: Recipe, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        # Weights from before torch 0.4.1 have no such counters, and nothing depends on them.
        if name.endswith("num_batches_tracked"):
            continue
        if name not in state:
            raise ModelError(f"{recipe.weights} lacks {name}: it is not a {recipe.model}")
        if state[name].shape != tensor.shape:
            raise ModelError(
                f"{recipe.weights}: {name} has shape {tuple(state[name].shape)} where "
                f"{recipe.model} has {tuple(tensor.shape)}; use weights of this model"
            )
    for name in state:
        if name not in wanted:
            raise ModelError(f"{recipe.weights} has {name}, which {recipe.model} has not")


def _weights(recipe: Recipe) -> Mapping[str, Tensor]:
    if recipe.weights not in IMAGENET_WEIGHTS:
        return _read_state(Path(recipe.weights).expanduser())
    known = IMAGENET_WEIGHTS[recipe.weights]
    if recipe.model not in known:
        instead = '"imagenet"' if recipe.model in PRETRAINED else '"none"'
        raise ModelError(
            f"there are no weights {recipe.weights!r} for model {recipe.model!r}; set weights = "
            f"{instead} or use one of: {', '.join(known)}"
        )
    return _read_state(_imagenet_file(imagenet_url(recipe.model, recipe.weights)))


def imagenet_url(model: str, weights: str = "imagenet") -> str:
    """Where torchvision publishes a model's ImageNet weights."""
    from torchvision.models import get_weight

    return str(get_weight(IMAGENET_WEIGHTS[weights][model]).url)


def imagenet_problem(model: str) -> str:
    """Why a model's V1 weights cannot be used without a download; "" if they can."""
    path = _imagenet_path(imagenet_url(model))
    if not path.exists():
        return f"not at {path}; fetched when first needed"
    try:
        _imagenet_file(imagenet_url(model))
    except ModelError as error:
        return str(error)
    return ""


def _read_state(path: Path) -> Mapping[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ModelError(f"weights file {path} does not exist; check the path") from error
    except OSError as error:
        raise ModelError(f"weights file {path} cannot be read ({error.strerror})") from error
    except Exception as error:  # junk makes torch's unpickler fail in a dozen ways
        raise ModelError(
            f"{path} is damaged or not a state dict; save one with torch.save(model.state_dict())"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(t, Tensor) for t in state.values()):
        raise ModelError(
            f"{path} is not a state dict; save one with torch.save(model.state_dict())"
        )
    return OrderedDict((_OLD_DENSENET_NAME.sub(r"\1\2", name), t) for name, t in state.items())


def _imagenet_file(url: str) -> Path:
    """The weights' file in torch's cache (TORCH_HOME), fetched if missing, its hash checked."""
    path = _imagenet_path(url)
    prefix = path.stem.rsplit("-", 1)[-1]
    if not path.exists():
        _download(url, path, prefix)
    # torch.hub trusts whatever lies in its cache.
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(prefix):
        raise ModelError(
            f"{path} is damaged or another file: its SHA-256 starts with {found[: len(prefix)]}, "
            f"not {prefix}; remove it and start again"
        )
    return path


def _imagenet_path(url: str) -> Path:
    return Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[-1])


def _download(url: str, path: Path, prefix: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.exists():
                torch.hub.download_url_to_file(url, str(path), prefix, progress=False)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        raise ModelError(
            f"{url} cannot be fetched ({reason}); fetch it elsewhere and put it at {path}"
        ) from error


def _conv_bn(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)
    )


class Proxy(nn.Module):
    """A plain net of three convolutions, about 76,000 parameters, for images of 8 to 32 px."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            # Pooling first: the same function, and a quarter of the ReLU's work.
            *(_conv_bn(3, 32), nn.MaxPool2d(2), nn.ReLU(inplace=True)),
            *(_conv_bn(32, 64), nn.MaxPool2d(2), nn.ReLU(inplace=True)),
            *(_conv_bn(64, 96), nn.ReLU(inplace=True)),
        )
        self.fc = nn.Linear(96, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Float (batch, 3, height, width) to (batch, classes)."""
        return cast(Tensor, self.fc(self.features(images).mean((2, 3))))


class _ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _conv_bn(inputs, outputs, stride=stride)
        self.second = _conv_bn(outputs, outputs)
        self.shortcut = nn.Identity() if inputs == outputs else _conv_bn(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second(self.first(x).relu())
        return cast(Tensor, (inner + self.shortcut(x)).relu())


class ResidualProxy(nn.Module):
    """Three residual blocks after He et al. 2016, about 80,000 parameters."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(_conv_bn(3, 16), nn.ReLU(inplace=True)),
            _ResidualBlock(16, 16, 1),
            _ResidualBlock(16, 32, 2),
            _ResidualBlock(32, 60, 2),
        )
        self.fc = nn.Linear(60, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Float (batch, 3, height, width) to (batch, classes)."""
        return cast(Tensor, self.fc(self.features(images).mean((2, 3))))


class _DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(self.norm(x).relu())], 1)


class DenseProxy(nn.Module):
    """Dense blocks of two, three and three layers after Huang et al. 2017, about 80,000
    parameters."""

    def __init__(self, classes: int, growth: int = 16) -> None:
        super().__init__()
        width = 16
        parts: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1, bias=False)]
        for layers in (2, 3, 3):
            if len(parts) > 1:
                parts += [nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.AvgPool2d(2)]
            for _ in range(layers):
                parts.append(_DenseLayer(width, growth))
                width += growth
        parts += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*parts)
        self.fc = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Float (batch, 3, height, width) to (batch, classes)."""
        return cast(Tensor, self.fc(self.features(images).mean((2, 3))))


_PROXIES = {"proxy": Proxy, "proxy-residual": ResidualProxy, "proxy-dense": DenseProxy}
