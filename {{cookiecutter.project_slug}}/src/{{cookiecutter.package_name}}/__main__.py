"""The command line: `python -m {{ cookiecutter.package_name }} --help`."""

import sys

try:
    from .durable.cli import main
except ModuleNotFoundError as error:  # of a package that `durable` needs
    how = "install what pyproject.toml says: rm .venv/.ready, and make setup; then use .venv/bin/python"
    print(f"the package {error.name} is missing; {how}", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    main()
