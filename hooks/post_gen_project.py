"""Keep the chosen alternative of each folder, and say what was made and what comes next."""

import json
import shutil
from pathlib import Path

# Data, never code: `tojson` leaves no quote, so that no answer can end this string.
ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
PACKAGE = f"src/{ANSWERS['package_name']}"

# The folders whose files are the answers of a prompt.
FOLDERS = {
    "result_storage": [f"{PACKAGE}/results", f"{PACKAGE}/marks", "tests/store", "tests/test_results"],
    "cache_key": [f"{PACKAGE}/cache_keys", "tests/test_cache_keys"],
    "retry_policy": [f"{PACKAGE}/retries", "tests/test_retries"],
    "upsert": [f"{PACKAGE}/upsert", "tests/sink", "tests/test_upsert"],
    "checkpoint": [f"{PACKAGE}/checkpoints", "tests/test_checkpoints"],
    "task_runner": [f"{PACKAGE}/runners", "tests/test_runners"],
    "deployment": ["deployment", "tests/test_deployment"],
    "ci": ["ci"],
    "license": ["LICENSE"],
}

# Files and folders that only some answers need: any of these, each with all that it says.
MIGRATED = [{"upsert": "sqlite"}, {"upsert": "postgres"}]
NEEDED = {
    "tests/servers.py": [
        {"result_storage": "s3"},
        {"result_storage": "gcs"},
        {"result_storage": "azure"},
        {"upsert": "postgres"},
    ],
    "alembic.ini": MIGRATED,
    "migrations": MIGRATED,
    f"{PACKAGE}/migrations.py": MIGRATED,
    "tests/test_migrations.py": MIGRATED,
    f"{PACKAGE}/marks.py": [{"checkpoint": "storage"}],
    "tests/test_full_disk.py": [
        {"upsert": "sqlite", "checkpoint": "database"},
        {"upsert": "duckdb", "checkpoint": "database"},
    ],
    "tests/test_lost_connections.py": [{"upsert": "postgres", "checkpoint": "database"}],
    "tests/test_model.py": [{"upsert": "sqlite"}, {"upsert": "postgres"}, {"upsert": "duckdb"}],
    "compose.yaml": [{"upsert": "postgres"}, {"deployment": "docker"}],
}


def keep(folder: Path, answer: str) -> None:
    """Put what was chosen of a folder in its place, and remove the folder.

    `folder/answer.py` becomes `folder.py`; what is in `folder/answer/` goes to the project's root; what is in
    `folder/shared/`, which every answer but `none` needs, and in `folder/shared+a+b/`, which the answers a and b need,
    goes beside the folder.
    """
    alternatives = folder.with_name(f".{folder.name}.alternatives")
    folder.rename(alternatives)
    chosen = [path for path in alternatives.iterdir() if path.name in (answer, f"{answer}.py")]
    if not chosen and answer != "none":
        raise SystemExit(f"the template has no {folder}/{answer}")
    for path in chosen:
        if path.is_dir():
            shutil.copytree(path, ".", dirs_exist_ok=True)
        else:
            path.rename(folder.with_name(folder.name + path.name.removeprefix(answer)))
    for shared in alternatives.glob("shared*") if chosen else ():
        if answer in (shared.name.split("+")[1:] or [answer]):
            shutil.copytree(shared, folder.parent, dirs_exist_ok=True)
    shutil.rmtree(alternatives)


def main() -> None:
    for prompt, folders in FOLDERS.items():
        for folder in folders:
            keep(Path(folder), ANSWERS[prompt])
    for name, answers in NEEDED.items():
        if not any(wanted.items() <= ANSWERS.items() for wanted in answers):
            path = Path(name)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    # All of them: Cookiecutter drops a misspelt name without a word.
    answers = "\n".join(f"  {prompt} = {answer}" for prompt, answer in ANSWERS.items() if not prompt.startswith("_"))
    print(f"Made {ANSWERS['project_slug']} with\n{answers}\nNext: cd {ANSWERS['project_slug']} && make run")


if __name__ == "__main__":
    main()
