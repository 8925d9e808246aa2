"""Keep the chosen alternative of each folder, and say what was made and what comes next."""

import json
import shutil
from pathlib import Path

# Data, never code: `tojson` leaves no quote, so that no answer can end this string.
ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
DURABLE = f"src/{ANSWERS['package_name']}/durable"
EXAMPLE = f"src/{ANSWERS['package_name']}/flows/flights"

# The folders whose files are the answers of a prompt. What an example brings comes first: it has such folders too.
FOLDERS = {
    "example": ["example"],
    "result_storage": [
        f"{DURABLE}/results",
        f"{DURABLE}/marks",
        "tests/support/store",
        "tests/durable/test_results",
    ],
    "cache_key": [f"{DURABLE}/cache_keys", "tests/durable/test_cache_keys"],
    "retry_policy": [f"{DURABLE}/retries", "tests/durable/test_retries"],
    "upsert": [
        f"{DURABLE}/__init__",
        f"{DURABLE}/claims",
        f"{DURABLE}/outbox",
        f"{DURABLE}/transfer",
        f"{DURABLE}/upserts",
        f"{EXAMPLE}/flow",
        f"{EXAMPLE}/tables",
        "tests/support/sink",
        "tests/support/effects",
        "tests/support/feed",
        "tests/support/loaded",
        "tests/support/planted",
        "tests/support/toy",
        "tests/durable/test_upserts",
    ],
    "checkpoint": [
        f"{DURABLE}/checkpoints",
        f"{DURABLE}/high_water",
        "tests/support/crash",
        "tests/durable/test_checkpoints",
    ],
    "task_runner": [f"{DURABLE}/runners", "tests/support/cluster", "tests/durable/test_runners"],
    "deployment": [f"{DURABLE}/deployments", "deployment", "tests/durable/test_deployment"],
    "ci": ["ci"],
    "license": ["LICENSE"],
}

# Files and folders that only some answers need: any of these, each with all that it says.
MIGRATED = [{"upsert": "sqlite"}, {"upsert": "postgres"}]
NEEDED = {
    "tests/support/servers.py": [
        {"result_storage": "s3"},
        {"result_storage": "gcs"},
        {"result_storage": "azure"},
        {"upsert": "postgres"},
    ],
    "alembic.ini": MIGRATED,
    "migrations": MIGRATED,
    "tests/durable/test_migrations.py": MIGRATED,
    f"{DURABLE}/marks.py": [{"checkpoint": "storage"}],
    "tests/durable/test_full_disk.py": [
        {"upsert": "sqlite", "checkpoint": "database"},
        {"upsert": "duckdb", "checkpoint": "database"},
    ],
    "tests/durable/test_lost_connections.py": [{"upsert": "postgres", "checkpoint": "database"}],
    "tests/durable/test_model.py": [{"upsert": "sqlite"}, {"upsert": "postgres"}, {"upsert": "duckdb"}],
    "compose.yaml": [{"upsert": "postgres"}, {"deployment": "docker"}],
}


def keep(folder: Path, answer: str) -> None:
    """Put what was chosen of a folder in its place, and remove the folder.

    `folder/answer.py` becomes `folder.py`, and so does `folder/answer+other.py`; what is in `folder/answer/` goes to
    the project's root; what is in `folder/shared/`, which every answer but `none` needs, and in `folder/shared+a+b/`,
    which the answers a and b need, goes beside the folder.
    """
    alternatives = folder.with_name(f".{folder.name}.alternatives")
    folder.rename(alternatives)
    chosen = []
    for path in sorted(alternatives.iterdir()):
        name, *answers = path.name.split("+")
        if name == "shared" and answer in (answers or {answer} - {"none"}):
            shutil.copytree(path, folder.parent, dirs_exist_ok=True)
        elif name == "shared" or answer not in (path.name, *path.stem.split("+")):
            continue
        elif path.is_dir():
            shutil.copytree(path, ".", dirs_exist_ok=True)
        else:
            path.rename(folder.with_name(folder.name + ("" if path.name == answer else path.suffix)))
        chosen.append(path)
    if not chosen and answer != "none":
        raise SystemExit(f"the template has no {folder}/{answer}")
    shutil.rmtree(alternatives)


def main() -> None:
    # Whoever installs the template with pip has bytecode of it too.
    for cache in [*Path().rglob("__pycache__")]:
        shutil.rmtree(cache)
    for prompt, folders in FOLDERS.items():
        for folder in map(Path, folders):
            # An example that was not chosen has none.
            if folder.exists() or not folder.is_relative_to(EXAMPLE):
                keep(folder, ANSWERS[prompt])
    for name, answers in NEEDED.items():
        if not any(wanted.items() <= ANSWERS.items() for wanted in answers):
            path = Path(name)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    # All of them: Cookiecutter drops a misspelt name without a word.
    answers = "\n".join(f"  {prompt} = {answer}" for prompt, answer in ANSWERS.items() if not prompt.startswith("_"))
    first = "make run" if ANSWERS["example"] != "none" else "make flow NAME=orders"
    print(f"Made {ANSWERS['project_slug']} with\n{answers}\nNext: cd {ANSWERS['project_slug']} && {first}")


if __name__ == "__main__":
    main()
