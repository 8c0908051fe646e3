"""docs/operating.md names what there is."""

from __future__ import annotations

import re
from pathlib import Path

from app.keys import MAX_KEY_CHARS, MIN_KEY_CHARS
from app.settings import variables

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operating.md").read_text()


def test_every_setting_that_is_named_exists() -> None:
    named = set(re.findall(r"OFFLOAD_[A-Z_]+[A-Z]", PAGE))
    assert named
    assert named <= variables().keys()


def test_every_event_that_is_named_is_logged() -> None:
    code = "".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    [table] = re.findall(r"^\| event \|.*?\n\n", PAGE, re.DOTALL | re.MULTILINE)
    named = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    named += ["stray_output", "api_keys_read", "api_keys_kept", "key_refused"]
    assert len(named) > 6
    for event in named:
        assert f'"{event}"' in code


def test_keys_are_as_long_as_it_says() -> None:
    assert f"A key has {MIN_KEY_CHARS} to {MAX_KEY_CHARS} visible characters" in PAGE
