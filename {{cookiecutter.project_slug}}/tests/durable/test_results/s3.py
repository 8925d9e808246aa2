"""The bucket of results: where it is."""

import pytest

from {{ cookiecutter.package_name }}.durable.probe import StoreError
from {{ cookiecutter.package_name }}.durable.results import register, settings, storage


@pytest.mark.usefixtures("api")
def test_place_is_said() -> None:
    assert register() == f"results are kept in s3://results/{settings.results_folder}"


@pytest.mark.usefixtures("api")
def test_changed_setting_reaches_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    for region in ("eu-west-1", "eu-west-2", settings.results_region):
        monkeypatch.setitem(settings.__dict__, "results_region", region)
        register()
        assert storage().credentials.region_name == (region or None)


@pytest.mark.parametrize(
    ("name", "value"),
    [("endpoint", "127.0.0.1:9"), ("bucket", "My Bucket!"), ("region", "EU west"), ("access_key", "")],
)
def test_mistake_is_one_line(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(settings.__dict__, f"results_{name}", value)
    with pytest.raises(StoreError, match=r"\Aresults cannot be kept.*\Z"):
        register()
