"""Models by reference: torchvision's, timm's, and a user's own."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from tuneoff import references
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.errors import Interrupted, ModelError
from tuneoff.trainer.models import factory, heads, making, resolve, stages, weights
from tuneoff.trainer.models.registry import MODELS
from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.registry import normalisation
from tuneoff.trainer.torch_trainer import TorchTrainer

has_timm = pytest.mark.skipif(importlib.util.find_spec("timm") is None, reason="needs timm")
SHARED = Path("/work/shared/weights/tf_efficientnet_lite0-imagenet.pth")

CODE = '''
import torch
from torch import nn

class SmallNet(nn.Module):
    """Its head is defined first, and another layer has as many outputs as there are classes."""
    def __init__(self, num_classes, width=8, drop=0.0):
        super().__init__()
        self.head = nn.Linear(width, num_classes)
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.mix = nn.Conv2d(width, width, 1)
        self.drop = drop
    def forward(self, x):
        x = self.mix(self.stem(x).relu()).relu().mean((2, 3))
        # At random, and no module of nn.Dropout.
        return self.head(nn.functional.dropout(x, self.drop, self.training))

class Pair(SmallNet):
    def forward(self, x):
        return super().forward(x), x

class Fixed(SmallNet):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.last = nn.Linear(num_classes, 5)
    def forward(self, x):
        return self.last(super().forward(x))

class Large(SmallNet):
    def forward(self, x):
        assert x.shape[-1] >= 32, "images of 32 pixels or more"
        return super().forward(x)

class Needy(SmallNet):
    """It looks at values, which tensors without memory do not have."""
    def forward(self, x):
        return super().forward(x) if float(x.mean()) < 1e9 else None

class Headless(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Flatten())

def nothing(num_classes):
    return None

NUMBER = 3
'''


@pytest.fixture
def mynet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "its_net.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(references, "_allowed", {"its_net"})
    yield "its_net"
    import sys

    sys.modules.pop("its_net", None)
    making._head_names.cache_clear()


def test_which_names_are_models() -> None:
    assert resolve.registered("torchvision:resnet18") == "resnet18"
    assert resolve.entry("torchvision:resnet18") is MODELS.entry("resnet18")
    assert resolve.registered("torchvision:vgg11") == "torchvision:vgg11"
    assert [resolve.own(m) for m in ("vgg", "timm:vgg11", "mynet:Net")] == [None, None, "mynet:Net"]
    assert resolve.entry("mynet:Net").stage_names == ("backbone", "head")
    for wrong in ("timm:a/b", "timm:hf-hub:x", "my net:Net", "torchvision:"):
        with pytest.raises(ValueError, match="model = "):
            Recipe(model=wrong)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_options": {"pretrained": True}}, "model_options.pretrained is not to be set"),
        ({"model_options": {"act": None}}, "must be a number, a word, true, false or a list"),
        ({"weights": "imagenet"}, "are none of mynet:Net; name a file of its state dict"),
        ({"padding": "same"}, 'padding = "same" is not for mynet:Net'),
        ({"frozen_stages": 2}, "below its head, mynet:Net has 1 stage "),
        ({"normalise": "1 2 3"}, 'normalise = "1 2 3" is unknown; .*"0.48 0.46 0.41 / 0.27'),
        ({"normalise": "0 0 0 / 1 0 1"}, "a standard deviation that is not above 0"),
    ],
)
def test_what_is_refused_without_looking_at_the_code(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**({"model": "mynet:Net"} | fields))  # type: ignore[arg-type]


def test_means_and_deviations_may_be_numbers() -> None:
    found = normalisation("0.5 0.4 0.3 / 0.2 0.1 0.3")
    assert (found.mean, found.std) == ((0.5, 0.4, 0.3), (0.2, 0.1, 0.3))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Absent", {}, "its_net has no Absent"),
        ("NUMBER", {}, "is no class or function, but a int"),
        ("nothing", {}, "returned no nn.Module, but a NoneType"),
        ("SmallNet", {"depth": 3}, r"cannot be made with num_classes=\d+, depth=3 \(TypeError: "),
        ("Headless", {}, "has no last layer with num_classes outputs"),
        ("Pair", {}, "returns a tuple; let it return the logits alone"),
        ("Fixed", {}, r"outputs of shape \(2, 5\) for two images of 3 classes"),
        ("Large", {}, r"cannot take images of 16 x 16 pixels \(AssertionError: images of 32 "),
    ],
)
def test_own_models_that_will_not_do_are_refused_in_a_line(
    mynet: str, name: str, options: dict[str, object], message: str
) -> None:
    recipe = Recipe(model=f"{mynet}:{name}", model_options=options)
    with pytest.raises(ModelError, match=message) as caught:
        factory.check(recipe, 16, 16, ("a", "b", "c"))
    assert "\n" not in str(caught.value)


def test_no_model_is_loaded_that_nobody_allowed(
    mynet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "_allowed", set())
    with pytest.raises(ModelError, match=r"nobody allowed this process to run .its_net."):
        factory.check(Recipe(model=f"{mynet}:SmallNet"), 16, 16)


def test_the_head_of_an_own_model_is_the_layer_for_the_classes(mynet: str, tmp_path: Path) -> None:
    first = Recipe(model=f"{mynet}:SmallNet", model_options={"width": 8})
    factory.check(first, 16, 16, tuple("abcdefgh"))
    made = factory.build(first, 8, seed=0)  # as many classes as its other layers have outputs
    assert heads.names(made) == ("head",)
    assert {n for n, p in stages.parts(made, first.model).items() if p.parameters} == {
        *("backbone", "head"),
    }
    torch.save(made.state_dict(), tmp_path / "weights.pt")
    recipe = first.override({"weights": str(tmp_path / "weights.pt"), "model_options.drop": 0.5})
    assert recipe.model_options == {"width": 8, "drop": 0.5}
    other = factory.build(recipe, 3, seed=1)
    assert heads.head(other).weight.shape == (3, 8)
    assert torch.equal(other.state_dict()["mix.weight"], made.state_dict()["mix.weight"])
    factory.check(Recipe(model=f"{mynet}:Needy"), 16, 16)


def test_an_own_model_resumes_bit_for_bit(
    mynet: str, digits_trainer: TorchTrainer, tmp_path: Path
) -> None:
    recipe = Recipe(
        model=f"{mynet}:SmallNet",
        model_options={"drop": 0.3},
        epochs=2,
        head_lr_factor=2.0,
        frozen_epochs=1,
    )

    def run(folder: str, stop_at: int | None = None) -> list[float]:
        calls = iter(range(1, 10**6))
        seen = digits_trainer.train(
            recipe,
            HyperParams(lr=0.05),
            RunSeed(),
            tmp_path / folder,
            lambda: next(calls) == stop_at,
        )
        return [record.validation_loss for record in seen]

    whole = run("whole")
    with pytest.raises(Interrupted):
        run("cut", stop_at=14)
    assert run("cut") == whole


def families() -> list[str]:
    from torchvision import models

    first: dict[str, str] = {}
    for name in models.list_models(module=models):
        family = models.get_model_builder(name).__module__
        if family not in first or "400mf" in name:  # RegNet's others take seconds to begin
            first[family] = name
    return list(first.values())


@pytest.mark.slow
def test_the_head_of_every_family_of_torchvisions_is_replaced() -> None:
    found = families()
    assert len(found) >= 17
    for name in found:
        recipe = Recipe(model=f"torchvision:{name}", weights="some.pt")
        side = resolve.side(recipe.model) or 224  # of those that are registered
        with torch.device("meta"):
            model = factory.skeleton(recipe, 7)
            heads.begin_anew(model, recipe, 5, ())
            factory._require_outputs(recipe, model, side, side, 5)
        assert "imagenet" in resolve.published(recipe.model)
        assert normalisation(resolve.normalise(recipe.model)).std == (0.229, 0.224, 0.225)


@pytest.mark.slow
def test_torchvisions_weights_by_name() -> None:
    assert resolve.published("torchvision:convnext_tiny") == {
        "imagenet": "ConvNeXt_Tiny_Weights.IMAGENET1K_V1"
    }
    # There is no IMAGENET1K_V1 for this one, so that it is torchvision's default.
    assert resolve.published("torchvision:regnet_y_128gf") == {
        "imagenet": "RegNet_Y_128GF_Weights.IMAGENET1K_SWAG_E2E_V1"
    }
    assert set(resolve.published("torchvision:mobilenet_v3_large")) == {"imagenet", "imagenet-v2"}
    with pytest.raises(ModelError, match='did you mean "torchvision:convnext_tiny"'):
        factory.check(Recipe(model="torchvision:convnext_tyni"), 32, 32)
    with pytest.raises(ModelError, match=r"Expected 224 but got 64.*set image_size = 224"):
        factory.check(Recipe(model="torchvision:vit_b_16"), 64, 64)


@pytest.mark.slow
def test_weights_of_inceptions_kind_go_without_their_auxiliary_classifiers(tmp_path: Path) -> None:
    from torchvision.models import googlenet

    with torch.device("meta"):
        published = googlenet(aux_logits=True, init_weights=False)
    state = {
        name: torch.zeros(t.shape, dtype=t.dtype) for name, t in published.state_dict().items()
    }
    torch.save(state, tmp_path / "googlenet.pt")
    recipe = Recipe(model="torchvision:googlenet", weights=str(tmp_path / "googlenet.pt"))
    factory.check(recipe, 64, 64, ("a", "b"))


@has_timm
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("efficientnet_lite0", "convnext_atto", "vit_tiny_patch16_224", "regnety_002"),
        *("repvit_m0_9", "deit_tiny_distilled_patch16_224", "mobilenetv4_conv_small", "resnet10t"),
    ],
)
def test_the_heads_of_timms_models_are_replaced(name: str) -> None:
    recipe = Recipe(model=f"timm:{name}", weights="some.pt")
    side = resolve.side(recipe.model)
    with torch.device("meta"):
        model = factory.skeleton(recipe, 7)
        heads.begin_anew(model, recipe, 5, ())
        factory._require_outputs(recipe, model, side, side, 5)
    assert len(heads.names(model)) == (2 if "distilled" in name or "repvit" in name else 1)


@has_timm
@pytest.mark.slow
def test_timms_models_say_which_images_they_want(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert resolve.normalise("timm:tf_efficientnet_lite0") == "half"
    settled = weights.settle(Recipe(model="timm:vit_base_patch16_clip_224"))
    assert len(normalisation(settled.normalise).mean) == 3
    assert settled.normalise.startswith("0.48145466 0.4578275 0.40821073 / 0.26862954")
    (note,) = factory.check(Recipe(model="timm:resnet10t"), 64, 64)
    assert "was made for images of 176 x 176 pixels, and is given 64 x 64" in note
    with pytest.raises(ModelError, match=r'timm has no model .*did you mean "timm:resnet10t"'):
        factory.check(Recipe(model="timm:resnet10"), 64, 64)
    with pytest.raises(ModelError, match="timm has no weights 'imagenet-v2'"):
        factory.check(Recipe(model="timm:resnet10t", weights="imagenet-v2"), 64, 64)


@has_timm
@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="needs the weights' file")
def test_a_timm_model_takes_a_local_file() -> None:
    recipe = Recipe(model="timm:tf_efficientnet_lite0", weights=str(SHARED))
    notes = factory.check(recipe, 128, 128, ("a", "b"))
    assert any('images are normalised as "half"' in note for note in notes)
    model = factory.build(recipe, 2, seed=0)
    assert isinstance(model.get_submodule("classifier"), nn.Linear)
    assert heads.head(model).weight.shape == (2, 1280)


def test_without_timm_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r'needs timm: uv pip install .*"\.\[timm\]"'):
        factory.check(Recipe(model="timm:resnet18"), 64, 64)
