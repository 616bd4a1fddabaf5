"""The gallery's hostile cases: names, notes, values and reasons that want to be more than text."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from gallery_study import EPOCHS, SPACE, Case, Place, draw, final_error
from stored_study import Run, Try, falling

from tuneoff.search.study.study import Study

TEXTS: Final = (
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "</textarea></style></title><svg onload=document.title='owned'>",
    "<iframe srcdoc=\"<script>parent.document.title='owned'</script>\"></iframe>",
    "<a href=\"javascript:document.title='owned'\">click</a>",
    '" onmouseover="document.title=\'owned\'" x="',
    "<b>bold</b><sub>x</sub><br>{{ 7 * 7 }} {% raw %} ${7 * 7} %{x:.2f} %{customdata}",
    "$\\frac{1}{2}$ $$\\href{http://evil.example}{x}$$",
    "**bold** [link](http://evil.example/beacon) ![x](http://evil.example/pixel.png) `code`",
    "# heading\n\n- item\n\n| a | b |\n|---|---|\n| 1 | 2 |",
    "\x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link\x1b]8;;\x07 \x07\x08\r over",
    "[bold red]rich[/bold red] [link=http://evil.example]x[/link] [/]",
    "\u202egnp.exe\u202c \u2066hidden\u2069 \u200bzero\u200b \ufeff",
    "\u0627\u0644\u0645\u0639\u062f\u0644 \u0627\u0644\u0623\u0633\u0631\u0639 \u05d0\u05d1\u05d2",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466\U0001f1e9\U0001f1ea"
    " e\u0301\u0301\u0301\u0301\u0301 \u5927\u304d\u306a\u5b57",
    "private \ue000, unassigned \U000e0fff, \x85 next, \u2028 line",
    "=cmd|' /C calc'!A0",
    "very " * 80 + "long",
    "x" * 400,
)
"""What somebody may write beside a configuration, or an error message may hold."""

LONG_ARM: Final = "an-arm-with-a-name-as-long-as-the-study-file-allows-it-to-be-x64"


def _hostile(place: Place) -> Study:
    """All of these texts as notes, reasons, workers, devices, values, and names of parameters."""
    layer = f"layer_decay.{TEXTS[1]}"
    space: dict[str, Any] = {
        "lr": SPACE["lr"],
        "weights": ["none", TEXTS[0], TEXTS[8], TEXTS[6]],
        layer: {"low": 0.1, "high": 100.0, "log": True},
    }

    def config(lr: float, weights: str, factor: float = 1.0) -> dict[str, Any]:
        return {"lr": lr, "weights": weights, layer: factor}

    hand = [{**config(0.03 * 1.1**i, "none"), "note": text} for i, text in enumerate(TEXTS)]
    writer = place.create(
        repeats=3,
        data={"name": "digits", "path": TEXTS[1]},
        space=space,
        arms={
            "bayes": {"sampler": "random"},
            "hand": {"configs": hand},
            LONG_ARM: {"sampler": "random"},
        },
        budget={"epochs": EPOCHS * len(TEXTS)},
        ensemble={"combine": "mean", "members": [{"model": "proxy", "epochs": 1}]},
    )
    writer.environment = {"device": TEXTS[0], TEXTS[1]: TEXTS[10]}
    rng = np.random.default_rng(3)
    for one in writer.study.arms:
        runs = []
        for i, text in enumerate(TEXTS):
            weights = space["weights"][i % 4]
            params = config(draw(rng)["lr"], weights, float(10 ** rng.uniform(-1, 2)))
            if one.arm == "hand":
                params = {k: v for k, v in hand[i].items() if k != "note"}
            known = {**params, "momentum": 0.9}
            errors = falling(final_error(known) + 0.01 * float(rng.random()), EPOCHS)
            worker, device = f"{text[:180]}/1", text[:90]
            tries: tuple[Try, ...] = (
                Try(0, "lost", f"no sign of life from {text}", worker, device),
                Try(EPOCHS, "finished", None, worker, device),
            )
            if i % 5 == 4 and one.arm != "hand":
                tries = tuple(Try(1, "failed", text, worker, device) for _ in range(3))
                failure = f"3 attempts failed; the last: {text}"
                runs.append(Run(params, errors[:1], "failed", text, failure, tries))
            else:
                runs.append(Run(params, errors, "complete", text, tries=tries))
        writer.arm(one.arm, one.repeat, runs)

    def errors_in_full(params: Any, replica: int) -> tuple[float, float]:
        error = 0.8 * final_error({**params, "momentum": 0.9}) + 0.002 * float(rng.random())
        return error, error

    writer.full(errors_in_full)
    writer.ensemble([0.05], 0.05)
    return writer.study


def _long_names(place: Place) -> Study:
    """Names as long as they may be, in every arm."""
    arms: dict[str, Any] = {
        f"{'w' * 60}-{i}": {"sampler": "random", "pruner": "median"} for i in range(5)
    }
    writer = place.create(arms=arms, promote=None, space=SPACE)
    rng = np.random.default_rng(4)
    for one in writer.study.arms:
        configs = [draw(rng) for _ in range(3)]
        runs = [Run(c, falling(final_error(c), EPOCHS), note="the paper's") for c in configs]
        writer.arm(one.arm, one.repeat, runs)
    return writer.study


HOSTILE: Final = (
    Case("hostile", "HTML, Markdown, ANSI, rich and more in notes, reasons, names", _hostile),
    Case("long-names", "names as long as they may be", _long_names),
)
