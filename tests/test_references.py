"""References to a user's own code: their form, what is allowed, and what can be wrong with them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.samplers import CmaEsSampler

from tuneoff import references
from tuneoff.references import BadReference, NotAllowed


@pytest.fixture(autouse=True)
def _own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working directory with modules of a user's, and nothing allowed yet."""
    (tmp_path / "its_train.py").write_text(
        "import os\nfrom functools import partial\nfrom subprocess import run\n\n\n"
        "class Net:\n    deep = 3\n\n\ndef train(): ...\n\n\n"
        "half, shell = partial(train), partial(run)\n"
    )
    (tmp_path / "its_broken.py").write_text("raise RuntimeError('no licence\\nfound')\n")
    (tmp_path / "its_needy.py").write_text("import no_such_package\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(references, "_allowed", set())
    monkeypatch.delenv(references.VARIABLE, raising=False)
    yield
    for name in ("its_train", "its_broken", "its_needy"):
        sys.modules.pop(name, None)


def test_nothing_runs_that_nobody_allowed() -> None:
    with pytest.raises(NotAllowed, match=r"\(its_broken\); .* --allow its_broken, or set TUNEOFF"):
        references.load("its_broken:train", "trial.trainer")
    assert "its_broken" not in sys.modules
    with pytest.raises(NotAllowed, match="its_train,command-"):
        references.require_allowed(["its_train", references.name_of_command("python train.py")])


def test_it_is_allowed_by_name_or_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    references.allow(["its_train"])
    assert references.load("its_train:Net.deep", "model") == 3
    monkeypatch.setattr(references, "_allowed", set())
    monkeypatch.setenv(references.VARIABLE, "other, its_train")
    assert references.load("its_train:train", "trial.trainer").__name__ == "train"


def test_a_command_is_allowed_as_it_is_written() -> None:
    name = references.name_of_command("python train.py --lr {lr}")
    references.allow([name])
    references.require_allowed([name])
    with pytest.raises(NotAllowed):
        references.require_allowed([references.name_of_command("python train.py --lr {lr} ; rm")])


def test_a_module_that_is_allowed_leads_to_no_other() -> None:
    references.allow(["its_train"])
    for wrong, top in [
        ("its_train:os.system", os.system.__module__),
        ("its_train:run", "subprocess"),
        ("its_train:shell", "subprocess"),
        ("its_train:os", "os"),
        ("its_train:train.__globals__.get", "builtins"),
    ]:
        with pytest.raises(NotAllowed, match=f"comes from {top}, .* --allow its_train,{top}, or"):
            references.load(wrong, "trial.trainer")
    assert references.load("its_train:half", "trial.trainer").func.__name__ == "train"
    # What a study file names in so many words was meant.
    references.allow(["its_train:run"])
    assert references.load("its_train:run", "trial.trainer") is subprocess.run


def test_a_reference_that_is_allowed_allows_no_other() -> None:
    references.allow(["its_train:train"])
    assert references.load("its_train:train", "trial.trainer").__name__ == "train"
    with pytest.raises(NotAllowed, match="--allow its_train, or"):
        references.load("its_train:Net", "model")


def test_samplers_of_optunas_need_no_permission() -> None:
    assert references.load("optuna.samplers:CmaEsSampler", "arms.a.sampler") is CmaEsSampler
    with pytest.raises(NotAllowed):
        references.load("optuna.samplers:_base.warnings.warn", "arms.a.sampler")


def test_a_folder_of_the_users_stands_after_pythons_modules_and_before_installed_ones() -> None:
    references.allow(["its_train"])
    here = sys.path.index(str(Path.cwd()))
    assert sys.path.index(sysconfig.get_path("stdlib")) < here
    assert here < sys.path.index(sysconfig.get_path("purelib"))


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("its_train:", 'model = "its_train:" is no reference; write it as "module:function"'),
        ("its train:f", "is no reference"),
        ("its_train:a;b", "is no reference"),
        (
            "its_absent:train",
            "there is no module its_absent here .on .*, in .*.; start in the folder",
        ),
        ("its_needy:train", "its_needy needs a module that is not here: No module named 'no_such"),
        ("its_broken:train", "its_broken cannot be imported: RuntimeError: no licence$"),
        ("its_train:tran", "its_train has no tran; check its name"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(reference: str, said: str) -> None:
    references.allow(["its_train", "its_absent", "its_needy", "its_broken", "its train"])
    with pytest.raises(BadReference, match=said) as caught:
        references.load(reference, "model")
    assert "\n" not in str(caught.value)
