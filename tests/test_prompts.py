"""The prompts speak to people."""

import json
from typing import Any

import pytest
from variants import CHOICES, PROMPTS, ROOT

LABELS: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8")).get("__prompts__", {})


@pytest.mark.parametrize("prompt", PROMPTS)
def test_each_prompt_and_each_choice_has_a_label(prompt: str) -> None:
    label = LABELS.get(prompt)
    if prompt not in CHOICES:
        assert isinstance(label, str)
        assert label.strip()
        assert label != prompt
        return
    assert isinstance(label, dict)
    assert list(label) == ["__prompt__", *CHOICES[prompt]]
    assert all(isinstance(text, str) and text.strip() for text in label.values())
    assert len(set(label.values())) == len(label)


def test_no_label_is_left_over() -> None:
    assert set(LABELS) <= set(PROMPTS)
