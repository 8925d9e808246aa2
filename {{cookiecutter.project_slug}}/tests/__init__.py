"""The tests of the project: of your flows in `flows`, of the template's part in `durable`."""
