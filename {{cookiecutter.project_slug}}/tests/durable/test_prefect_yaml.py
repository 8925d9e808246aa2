"""A misspelt key of prefect.yaml, or a value that Prefect refuses, is found before it is missed."""

from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.durable import prefect_yaml
from {{ cookiecutter.package_name }}.durable.prefect_yaml import FILE, POOL, faults, unknown_keys, wrong_values
from {{ cookiecutter.package_name }}.durable.settings import PACKAGE

TEXT = FILE.read_text(encoding="utf-8")
ONE = TEXT[: TEXT.index("\ndeployments:")] + "\ndeployments:\n  - name: a\n    <<: *common\n"
"""The file with one deployment, whatever flows the project has."""


@pytest.mark.parametrize("text", [TEXT, ONE], ids=["all", "one"])
def test_the_file_as_it_is_has_none(text: str) -> None:
    assert list(unknown_keys(text)) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("deployments:", "deployment:"),
        ("    pull:", "    puls:"),
        ("    concurrency_limit:", "    concurency_limit:"),
        ("      collision_strategy:", "      collision:"),
        ("      name:", "      pool:"),
    ],
)
def test_a_misspelt_key_is_named_with_its_line(right: str, wrong: str) -> None:
    assert right in ONE
    line = ONE[: ONE.index(right)].count("\n") + 1
    (said,) = unknown_keys(ONE.replace(right, wrong, 1))
    assert said.startswith(f"prefect.yaml:{line}: Prefect knows no {wrong.strip(' :')} here")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("concurrency_limit: one", "concurrency_limit: Input should be a valid integer, unable to parse"),
        ("concurrency_limit: {limit: one}", "limit: Input should be a valid integer, unable to parse"),
        ("parameters: []", "parameters: Input should be a valid dictionary"),
        ("tags: shop", "tags: give a list, [shop]: Prefect would take each letter"),
        ("schedules: [{cron: 4}]", "cron: "),
        ("schedules: [{cron: 0 4 * *}]", 'cron: Value error, Invalid cron string: "0 4 * *"'),
        ("schedules: [{cron: 0 4 * * *, timezone: Mars/Base}]", "timezone: "),
        ("schedules: [{interval: soon}]", "interval: "),
        ("schedules: [{interval: 60, cron: 0 4 * * *}]", "schedules: Value error, Exactly one of 'cron'"),
        ("name: 7", "name: Input should be a valid string"),
        ("work_pool: mine", "work_pool: Input should be a valid dictionary or instance of WorkPoolConfig"),
    ],
)
def test_a_value_that_prefect_refuses_is_named_with_its_line(tmp_path: Path, wrong: str, said: str) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text(f"deployments:\n- name: a\n- entrypoint: a.b\n  {wrong}\n", encoding="utf-8")
    (found,) = faults(file)
    assert found.startswith(f"prefect.yaml:4: {said}")
    # Of what deployments share too.
    shared = f"definitions:\n  common: &common\n    {wrong}\ndeployments:\n- description: a\n  <<: *common\n"
    (found,) = wrong_values(shared)
    assert found.startswith(f"prefect.yaml:3: {said}")


def test_a_name_that_a_flow_has_twice_is_named() -> None:
    text = "deployments:\n- {name: a, entrypoint: a.b}\n- {name: a, entrypoint: a.c}\n- name: a\n  entrypoint: a.b\n"
    assert list(wrong_values(text)) == ["prefect.yaml:4: name: this flow has two deployments called a"]
    assert list(wrong_values("")) == []


@pytest.mark.parametrize(
    "deployment",
    [
        "schedules: [0 4 * * *]",
        "schedules: {cron: 0 4 * * *}",
        "<<: [*a, *a], version: 5",
        "name: [a], entrypoint: {}",
        "a",
    ],
)
def test_a_file_of_another_form_is_no_error_of_the_check(tmp_path: Path, deployment: str) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text("definitions: {a: &a {name: a}}\ndeployments:\n- {" + deployment + "}\n", encoding="utf-8")
    assert [fault.partition(" ")[0] for fault in faults(file)] in (["prefect.yaml:3:"], ["prefect.yaml:3:"] * 2)
    file.write_text("deployments: " + deployment.partition(":")[0] + "\n", encoding="utf-8")
    assert faults(file)[0].startswith("prefect.yaml:1: ")


def test_what_may_be_meant_is_said() -> None:
    (said,) = unknown_keys("deployments: [{name: a, shedules: []}]\n")
    assert said.endswith("Prefect knows no shedules here; schedules may be meant")


def test_schedules_steps_and_anchors_are_known() -> None:
    assert not list(
        unknown_keys(
            "definitions: {daily: &daily {cron: 0 4 * * *}}\n"
            "pull: [{prefect.deployments.steps.set_working_directory: {directory: /app}}]\n"
            "deployments: [{name: a, schedules: [*daily, {interval: 60, slug: often}], concurrency_limit: 1}]\n"
        )
    )
    assert list(unknown_keys("deployments: [{schedules: [{corn: 0 4 * * *}]}]"))


VARIABLES = "work_pool: {name: " + POOL + ", job_variables: "
FLOW = f"entrypoint: {PACKAGE}.flows.probes.flow.load_probes, "


@pytest.fixture
def probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with a flow."""
    file = tmp_path / "src" / PACKAGE / "flows" / "probes" / "flow.py"
    file.parent.mkdir(parents=True)
    file.write_text("def load_probes(folder: str = '', job: str = '') -> None: ...\n")
    monkeypatch.setattr(prefect_yaml, "ROOT", tmp_path)


@pytest.mark.parametrize(
    ("deployment", "said"),
    [
        (VARIABLES + "{nmae: a, env: {ANY: a}}}", "nmae here; name may be meant"),
        (VARIABLES + "{envs: {}}}", "envs here; env may be meant"),
        (FLOW + "parameters: {foldr: a, job: b}", "foldr here; folder may be meant"),
        (FLOW + "schedules: [{cron: 0 4 * * *, parameters: {jobs: b}}]", "jobs here; job may be meant"),
    ],
)
@pytest.mark.usefixtures("probes")
def test_what_the_work_pool_or_the_flow_does_not_have_is_named(deployment: str, said: str) -> None:
    (found,) = unknown_keys("deployments: [{" + deployment + "}]")
    assert found.endswith(f"Prefect knows no {said}")


@pytest.mark.parametrize(
    "deployment",
    [
        "work_pool: {name: of-others, job_variables: {cpu: 256}}",
        "entrypoint: elsewhere.flows.load, parameters: {any: a}",
        "parameters: {any: a}",
    ],
)
def test_what_is_not_of_this_project_is_left_alone(deployment: str) -> None:
    assert list(unknown_keys("deployments: [{" + deployment + "}]")) == []


@pytest.mark.usefixtures("probes")
@pytest.mark.parametrize("entrypoint", ["flows.gone.flow.load_gone", "flows.probes.flow.load_others"])
def test_flow_that_is_not_there_is_named_with_its_line(entrypoint: str) -> None:
    (said,) = unknown_keys(f"deployments:\n- name: a\n  entrypoint: {PACKAGE}.{entrypoint}\n")
    assert said == f"prefect.yaml:3: there is no flow {PACKAGE}.{entrypoint}"


def test_what_deployments_share_is_checked_too() -> None:
    deployments = "deployments: [{name: a, <<: *common}, {name: b, <<: *common}]"
    (said,) = unknown_keys("definitions: {common: &common {tgs: [a]}}\n" + deployments)
    assert said == "prefect.yaml:1: Prefect knows no tgs here; tags may be meant"


def test_a_key_that_stands_twice_is_named_once() -> None:
    text = "definitions: {env: &env {A: 1,\nA: 2}}\npull: [{a: *env}, {b: *env}]\n"
    assert list(unknown_keys(text)) == ["prefect.yaml:2: A is given twice, and the first is ignored"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name: a\n\tb: c\n", "prefect.yaml:2: found character '\\t' that cannot start any token"),
        (b"name: *b\n", "prefect.yaml:1: found undefined alias 'b'"),
        (b"name: \x07\n", "prefect.yaml: unacceptable character #x0007"),
        (b"name: \xff\n", "prefect.yaml: 'utf-8' codec can't decode"),
        (None, "prefect.yaml: [Errno 2] No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "prefect.yaml"
    if content is not None:
        file.write_bytes(content)
    (found,) = faults(file)
    assert found.startswith(said)
    assert "\n" not in found


def test_a_template_of_jobs_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "prefect.yaml"
    file.write_text("deployments: [{" + VARIABLES + "{env: {}}}}]")
    template = tmp_path / "work-pool.json"
    monkeypatch.setattr(prefect_yaml, "TEMPLATE", template)
    template.write_text('{"variables": {\n"properties" {}}}')
    assert faults(file) == ["work-pool.json:2: Expecting ':' delimiter"]
    template.write_text('{"variables": {}}')
    assert faults(file) == ["prefect.yaml:1: Prefect knows no env here"]
