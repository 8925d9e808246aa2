"""Without a database there is no outbox: what would promise more than that is refused."""

import pytest

from {{ cookiecutter.package_name }}.durable import outbox
from {{ cookiecutter.package_name }}.durable.errors import InputError
from {{ cookiecutter.package_name }}.durable.steps import Step


def test_step_sends_nothing() -> None:
    step = Step("flow/job", "key", "", "label")
    with pytest.raises(RuntimeError, match="needs a database; without one, call `post`"), step:
        step.send("http://127.0.0.1:9/", "item", {})


def test_nothing_is_left_and_nothing_can_be_sent_again() -> None:
    assert outbox.backlog("flow/job") == {"left": 0, "refused": 0}
    assert outbox.status() == []
    with pytest.raises(InputError, match="no database, and so no outbox"):
        outbox.resend("flow/job")


def test_step_claims_nothing() -> None:
    step = Step("flow/job", "key", "", "label")
    with pytest.raises(RuntimeError, match="needs a database; without one, give each item a task"), step:
        step.claim(["item"])
