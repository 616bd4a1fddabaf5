"""Tables and figures from the records of pays.py."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from pays_records import BUDGETS, MOST, OURS, PLANNED, SHARES
from scipy.stats import t as student

from tuneoff.search.report.figures.colours import arm_colours

Record = Mapping[str, Any]
Lines = dict[str, list[tuple[float, float, float]]]
"""By method: (full runs, mean regret, its standard error)."""

MARK = 10
"""Full runs at which the answer is given."""
LEAST = 0.002
"""Differences of fine-tuning below this have no practical weight."""
TAIL = 0.975
FLOOR = 3e-3  # the lowest regret that is drawn
WIDTH, HEIGHT, PAD = 330, 240, 44


class Searches:
    """The records of one group of worlds at one horizon, by method, world and repeat."""

    def __init__(self, records: Sequence[Record], worlds: Sequence[str], share: float) -> None:
        self.share = share
        self._found: dict[tuple[str, str, int, int], Record] = {}
        self.methods: dict[str, None] = {}
        for record in records:
            if record["world"] in worlds and record["share"] == share and record["trace"]:
                key = record["method"], record["world"], record["repeat"], record["budget"]
                self._found[key] = record
                self.methods[record["method"]] = None

    def at(self, method: str, budget: int) -> dict[tuple[str, int], tuple[float, float]]:
        """(regret, quality) by world and repeat after a budget; what does not reach it is out."""
        found = {}
        for (name, world, repeat, own), record in self._found.items():
            fits = own == budget if method in PLANNED else own >= budget
            if name == method and fits:
                before = [point for point in record["trace"] if point[0] <= budget + 1e-6]
                if before:
                    found[world, repeat] = (before[-1][1], before[-1][2])
        return found

    def costs(self, method: str, goals: Mapping[tuple[str, int], float]) -> list[float]:
        """Full runs until the recommended configuration is as good as a goal; infinite for never.

        Args:
            goals: qualities by world and repeat.
        """
        largest = max((k[3] for k in self._found if k[0] == method), default=0)
        found = []
        for (name, world, repeat, own), record in self._found.items():
            if name == method and own == largest and (world, repeat) in goals:
                goal = goals[world, repeat]
                reached = (cost for cost, _, quality in record["trace"] if quality <= goal + 1e-9)
                found.append(next(reached, math.inf))
        return found


def difference(
    baseline: Mapping[tuple[str, int], tuple[float, float]],
    ours: Mapping[tuple[str, int], tuple[float, float]],
) -> tuple[float, float, float, int] | None:
    """Baseline's quality minus ours with a 95% interval, and the number of pairs.

    With several worlds the interval is over the means of worlds, else over repeats. None with
    fewer than two of those.
    """
    by_world: dict[str, list[float]] = defaultdict(list)
    for key in baseline.keys() & ours.keys():
        by_world[key[0]].append(baseline[key][1] - ours[key][1])
    values = [float(np.mean(some)) for some in by_world.values()]
    if len(by_world) == 1:
        values = next(iter(by_world.values()))
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(student.ppf(TAIL, len(values) - 1)) * error
    return mean, mean - half, mean + half, sum(map(len, by_world.values()))


def page(records: Sequence[Record], groups: Mapping[str, str]) -> str:
    """All tables, in Markdown."""
    parts = []
    for group in dict.fromkeys(groups.values()):
        worlds = [name for name, own in groups.items() if own == group]
        for share in SHARES:
            found = Searches(records, worlds, share)
            if share in MOST[group] and found.methods:
                parts += [f"### {group}, {_horizon(share)}", _table(found, group)]
                if share == 1.0 and group != "fine-tuning rows":
                    parts += [_answers(found, group), _costs(found)]
    return "\n\n".join(parts)


def _horizon(share: float) -> str:
    return {1.0: "full horizon", 0.5: "half the horizon", 0.25: "a quarter of it"}[share]


def _table(found: Searches, group: str) -> str:
    """Mean regret after each budget, and the difference to ours in points with its interval."""
    budgets = [b for b in BUDGETS if b <= MOST[group][found.share]]
    pairs = max((len(found.at(method, budgets[0])) for method in found.methods), default=0)
    lines = [
        f"Mean normalised regret ({pairs} searches of each method); below it, the method's error "
        f"minus {OURS}'s in points, with a 95% interval.",
        "",
        "| method | " + " | ".join(f"{budget} full runs" for budget in budgets) + " |",
        "|---" * (1 + len(budgets)) + "|",
    ]
    ours = {budget: found.at(OURS, budget) for budget in budgets}
    for method in found.methods:
        cells = []
        for budget in budgets:
            here = found.at(method, budget)
            if not here:
                cells.append("–")
                continue
            regret = f"{np.mean([r for r, _ in here.values()]):.3f}"
            gap = None if method == OURS else difference(here, ours[budget])
            cells.append(regret if gap is None else f"{regret}<br>{_points(gap)}")
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _points(gap: tuple[float, float, float, int]) -> str:
    mean, low, high, _ = gap
    return f"{100 * mean:+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def _answers(found: Searches, group: str) -> str:
    """The comparisons on which the answer rests."""
    ours, lines = found.at(OURS, MARK), []
    for method in found.methods:
        if method not in ("grid", "random", "top-k") and not method.startswith("hand/"):
            continue
        gap = difference(found.at(method, MARK), ours)
        if gap is None:
            continue
        mean, low, high, pairs = gap
        answer = "yes" if low > 0 else "no" if high < 0 else "undecided"
        small = group == "fine-tuning" and abs(mean) < LEAST
        weight = "; of no practical weight" if small else ""
        lines.append(f"- against {method}: {answer}, {_points(gap)}, {pairs} pairs{weight}")
    return "\n".join([f"Better than the baseline after {MARK} full runs?", "", *lines])


def _costs(found: Searches) -> str:
    """Full runs until the end of the best hand-tuned list is reached."""
    best: dict[tuple[str, int], float] = {}
    lists = [method for method in found.methods if method.startswith("hand/")]
    largest = max((key[3] for key in found._found), default=0)
    ends = {method: found.at(method, largest) for method in lists}
    means = {m: float(np.mean([q for _, q in e.values()])) for m, e in ends.items() if e}
    if not means:
        return ""
    goal = min(means, key=lambda method: means[method])
    best = {key: quality for key, (_, quality) in ends[goal].items()}
    lines = [
        f"Full runs until a method recommends what is as good as the end of {goal}, the best list "
        "by hand: median, and the share of searches that never do.",
        "",
        "| method | median | never |",
        "|---|---|---|",
    ]
    for method in found.methods:
        if method in PLANNED:
            continue
        costs = found.costs(method, best)
        if costs:
            middle = float(np.quantile(costs, 0.5, method="inverted_cdf"))
            never = np.mean([not math.isfinite(cost) for cost in costs])
            shown = f"{middle:.1f}" if math.isfinite(middle) else "never"
            lines.append(f"| {method} | {shown} | {never:.0%} |")
    return "\n".join(lines)


def figures(records: Sequence[Record], groups: Mapping[str, str]) -> dict[str, str]:
    """By name, an SVG: regret against the budget, a panel for each group of worlds."""
    panels: list[tuple[str, Lines]] = []
    for group in dict.fromkeys(groups.values()):
        worlds = [name for name, own in groups.items() if own == group]
        found = Searches(records, worlds, 1.0)
        budgets = [b for b in BUDGETS if b <= MOST[group][1.0]]
        lines: Lines = {}
        for method in found.methods:
            points: list[tuple[float, float, float]] = []
            for budget in budgets:
                here = [regret for regret, _ in found.at(method, budget).values()]
                if here:
                    points.append((budget, float(np.mean(here)), _error(here)))
            if points:
                lines[method] = points
        if lines:
            panels.append((group, lines))
    horizons = _horizon_panels(records, groups)
    drawn = {"regret": _drawing(panels)} if panels else {}
    return drawn | ({"horizons": _drawing(horizons)} if horizons else {})


def _horizon_panels(
    records: Sequence[Record], groups: Mapping[str, str]
) -> list[tuple[str, Lines]]:
    """Ours, random search and top-k at each horizon, of the groups that have several."""
    panels: list[tuple[str, Lines]] = []
    for group in dict.fromkeys(groups.values()):
        worlds = [name for name, own in groups.items() if own == group]
        for share in SHARES:
            if len(MOST[group]) < 2 or share not in MOST[group]:
                continue
            found = Searches(records, worlds, share)
            lines: Lines = {}
            for method in (OURS, "random", "top-k", "tpe+hyperband"):
                for budget in (b for b in BUDGETS if b <= MOST[group][share]):
                    here = [regret for regret, _ in found.at(method, budget).values()]
                    if here:
                        lines.setdefault(method, []).append(
                            (budget, float(np.mean(here)), _error(here))
                        )
            if lines:
                panels.append((f"{group}, {_horizon(share)}", lines))
    return panels


def _error(values: Sequence[float]) -> float:
    count = len(values)
    return float(np.std(values, ddof=1)) / math.sqrt(count) if count > 1 else 0.0


def _drawing(panels: Sequence[tuple[str, Lines]]) -> str:
    """Panels in rows of three, and one key; axes are logarithmic, bars one standard error."""
    methods = list(dict.fromkeys(method for _, lines in panels for method in lines))
    colours = arm_colours([_arm(method) for method in methods])
    across = min(3, len(panels))
    down = math.ceil(len(panels) / across)
    key = 18 * math.ceil(len(methods) / (2 * across)) + 14
    width, height = across * WIDTH, down * HEIGHT + key
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">'
        f'<rect width="{width}" height="{height}" fill="white"/>'
    ]
    for i, (title, lines) in enumerate(panels):
        left, top = (i % across) * WIDTH, (i // across) * HEIGHT
        parts.append(f'<g transform="translate({left} {top})">{_panel(title, lines, colours)}</g>')
    for i, method in enumerate(methods):
        x, y = 12 + (i % (2 * across)) * WIDTH / 2, down * HEIGHT + 18 * (i // (2 * across)) + 14
        colour, dash = colours[_arm(method)], _dash(method)
        parts.append(
            f'<path d="M{x} {y - 4}h22" stroke="{colour}" stroke-width="2"{dash}/>'
            f'<text x="{x + 28}" y="{y}" fill="#222">{escape(method)}</text>'
        )
    return "".join([*parts, "</svg>\n"])


def _panel(title: str, lines: Lines, colours: Mapping[str, str]) -> str:
    budgets = sorted({budget for points in lines.values() for budget, _, _ in points})
    values = [max(FLOOR, mean) for points in lines.values() for _, mean, _ in points]
    low, high = math.log(min(values) / 1.3), math.log(max(values) * 1.3)
    first, last = math.log(budgets[0]), math.log(max(budgets[-1], budgets[0] + 1))

    def x(budget: float) -> float:
        return PAD + (math.log(budget) - first) / (last - first) * (WIDTH - PAD - 16)

    def y(value: float) -> float:
        where = (math.log(max(FLOOR, value)) - low) / (high - low)
        return 26 + (1 - min(1.0, max(0.0, where))) * (HEIGHT - 26 - PAD)

    parts = [f'<text x="{PAD}" y="16" font-weight="bold" fill="#222">{escape(title)}</text>']
    for tick in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0):
        if low <= math.log(tick) <= high:
            parts.append(
                f'<path d="M{PAD} {y(tick):.1f}H{WIDTH - 16}" stroke="#ddd"/>'
                f'<text x="{PAD - 4}" y="{y(tick) + 4:.1f}" text-anchor="end" fill="#555">'
                f"{tick:g}</text>"
            )
    for budget in budgets:
        parts.append(
            f'<text x="{x(budget):.1f}" y="{HEIGHT - PAD + 16}" text-anchor="middle" fill="#555">'
            f"{budget:g}</text>"
        )
    parts.append(
        f'<text x="{(WIDTH + PAD) / 2}" y="{HEIGHT - PAD + 32}" text-anchor="middle" fill="#555">'
        "full runs; upwards: mean normalised regret</text>"
    )
    for method, points in lines.items():
        colour = colours[_arm(method)]
        path = "L".join(f"{x(budget):.1f} {y(mean):.1f}" for budget, mean, _ in points)
        wide = 3 if method == OURS else 1.6
        parts.append(
            f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="{wide}"'
            f"{_dash(method)}/>"
        )
        for budget, mean, error in points:
            parts.append(
                f'<path d="M{x(budget):.1f} {y(mean - error):.1f}V{y(mean + error):.1f}" '
                f'stroke="{colour}"/>'
            )
    return "".join(parts)


def _arm(method: str) -> str:
    """The name by which a method has its colour in all of the project's figures."""
    return {OURS: "bayes", "tpe+hyperband": "tpe"}.get(method, method.replace("hand/", "hand "))


def _dash(method: str) -> str:
    return ' stroke-dasharray="5 3"' if method.startswith("hand/") else ""
