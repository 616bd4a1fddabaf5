"""Command templates: what comes of them, and what is refused."""

from __future__ import annotations

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.trainer.own import template
from tuneoff.trainer.own.template import BadTemplate

GIVEN: dict[str, template.Value] = {
    "epochs": 5,
    "seed": 7,
    "folder": "/a b",
    "device": "cpu",
    "resume_epoch": 0,
}


def fill(words: str, **parameters: template.Value) -> list[str]:
    return template.fill(words, parameters, GIVEN)


def test_values_take_the_places_of_their_names() -> None:
    text = "python train.py --lr {lr} -e{epochs} --out {folder} {cosine}"
    assert fill(text, lr=1e-5, cosine=True) == [
        "python", "train.py", "--lr", "1e-05", "-e5", "--out", "/a b", "true"
    ]  # fmt: skip


def test_a_value_stays_one_word_and_no_shell_reads_it() -> None:
    assert fill("echo {name}", name='a b; rm "$HOME" `x` {lr}') == [
        "echo", 'a b; rm "$HOME" `x` {lr}'
    ]  # fmt: skip


def test_args_stand_for_every_parameter() -> None:
    assert fill("train ${args} end", lr=0.1, depth=3) == ["train", "--lr=0.1", "--depth=3", "end"]
    assert fill("train ${args_no_hyphens}", lr=0.1) == ["train", "lr=0.1"]
    assert json.loads(fill("train {params}", lr=0.1, d=3)[1]) == {"lr": 0.1, "d": 3}


def test_doubled_braces_are_braces() -> None:
    assert fill("""train '{{"lr": {lr}}}'""", lr=0.1) == ["train", '{"lr": 0.1}']


@given(st.floats(allow_nan=False), st.text(st.characters(exclude_characters="\0")))
def test_what_is_filled_in_is_read_back_equal(number: float, text: str) -> None:
    words = fill("x {number} '--t={text}'", number=number, text=text)
    assert float(words[1]) == number
    assert words[2] == f"--t={text}"
    assert shlex.split(template.shown(words)) == words


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("train '{lr}", "No closing quotation"),
        ("train {lr} {momentum}", "{momentum} in [trial] command stands for nothing"),
        ("train {lr} }", 'a single "}"'),
        ("train {lr} { x }", 'a single "{"'),
        ("train {epochs}", "lr is searched, but never occurs"),
        ("train x${args}", "each a word of its own"),
        ("train ${program}", "${program} in [trial] command is not known"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(BadTemplate) as error:
        template.check(text, ["lr", "depth"], ["lr"])
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", ["t {lr}", "t ${args}", "t {params} {seed}", "t ${args_no_hyphens}"]
)
def test_a_template_with_all_that_is_searched_is_accepted(text: str) -> None:
    template.check(text, ["lr", "depth"], ["lr"])


def test_a_parameter_cannot_have_the_name_of_what_is_given() -> None:
    with pytest.raises(BadTemplate, match="named epochs"):
        template.check("t {epochs}", ["epochs"], ["epochs"])


def test_the_parameters_of_a_template_are_found() -> None:
    assert template.parameters_in("t {lr} {epochs} {optimizer.lr} {lr} ${args} {{x}}") == [
        "lr", "optimizer.lr"
    ]  # fmt: skip
