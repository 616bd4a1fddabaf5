"""`tuneoff check`, where training cannot be tried."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tuneoff.search.cli.main import main

STUDY = """
name = "broken"
repeats = 1
[trial]
command = "sh -c 'echo first; echo second; exit 3' {x}"
epochs = 2
[space]
x = { low = 0.1, high = 0.9 }
[budget]
epochs = 2
[arms.hand]
configs = [{ x = 0.5 }]
"""


@pytest.mark.slow
def test_what_a_command_printed_is_shown_as_its_log_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "broken.toml"
    file.write_text(STUDY)
    with pytest.raises(SystemExit) as ended:
        main(["check", str(file), "--work", str(tmp_path / "work")])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert re.search(r"^first\nsecond\nError: the command .*exit code 3.*: second$", said, re.M)
    assert "log:" not in said
