"""The real parts pass what any plug-in must pass."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tuneoff.retry import Patience
from tuneoff.search.launch.base import Workers
from tuneoff.search.policies.base import Policy
from tuneoff.search.policies.build import build_policy
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.registry import PRUNERS, SAMPLERS
from tuneoff.search.spec.space import SearchSpace
from tuneoff.testing import (
    LauncherConformance,
    PolicyConformance,
    StoreConformance,
    TrainerConformance,
)
from tuneoff.trainer.contract import Trainer
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe


@pytest.fixture(autouse=True)
def quiet() -> None:
    """Only Optuna's warnings."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.slow
class TestTorchTrainer(TrainerConformance):
    """The proxy net on scanned digits."""

    recipe = Recipe(data=DataSource("digits", validation=0.5), epochs=2, flip=False)
    params = HyperParams(lr=0.05)

    @pytest.fixture(autouse=True)
    def _cache(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.cache = tmp_path_factory.getbasetemp() / "digits-cache"

    def make_trainer(self, tmp_path: Path) -> Trainer:
        from tuneoff.trainer.torch_trainer import TorchTrainer

        return TorchTrainer("cpu", cache=self.cache, threads=1)


class TestFolderStore(StoreConformance):
    """A shared folder."""

    def make_store(self, tmp_path: Path) -> Any:
        from tuneoff.search.store.artifacts.folder import FolderStore

        folder = tmp_path / "store"
        folder.mkdir()
        return FolderStore(folder)


@pytest.mark.slow
class TestOptunasBoto3Store(StoreConformance):
    """A bucket, through Optuna."""

    @pytest.fixture(autouse=True)
    def _bucket(self, bucket_url: str) -> None:
        self.url = bucket_url

    def make_store(self, tmp_path: Path) -> Any:
        from tuneoff.search.store.artifacts import open_artifacts

        return open_artifacts(self.url, Patience(10)).store


ARMS: dict[str, dict[str, Any]] = {
    "hand": {"configs": [{"lr": 0.01, "momentum": 0.9}, {"lr": 0.1, "momentum": 0.8, "note": "x"}]},
    **{sampler: {"sampler": sampler, "startup": 3} for sampler in SAMPLERS},
    **{pruner: {"sampler": "random", "pruner": pruner, "startup": 2} for pruner in PRUNERS},
}


@pytest.fixture(params=ARMS)
def arm(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.mark.slow
class TestPolicies(PolicyConformance):
    """Every sampler and pruner that a study file may name."""

    @pytest.fixture(autouse=True)
    def _arm(self, arm: str) -> None:
        self.arm = arm

    def make_policy(self) -> Policy:
        spec = StudySpec.parse(
            {
                "name": "conformance",
                "data": {"name": "digits"},
                "trial": {"epochs": self.horizon},
                "space": {
                    "lr": {"low": 1e-4, "high": 1.0, "log": True},
                    "momentum": {"low": 0.5, "high": 0.99},
                },
                "budget": {"epochs": self.budget},
                "arms": {self.arm: ARMS[self.arm]},
            },
            "conformance",
        )
        return build_policy(spec, SearchSpace.of(spec), self.arm, 0)


@pytest.mark.slow
class TestFleet(LauncherConformance):
    """Processes on this machine."""

    def make_workers(
        self, command: list[str], storage: str, logs: Path
    ) -> AbstractContextManager[Workers]:
        from tuneoff.search.launch.local import LocalFleet, share_out, usable_cores

        return LocalFleet(command, storage, share_out(usable_cores()[:1], [], 2), logs)
