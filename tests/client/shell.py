"""The command `offload` in this process, and what it leaves."""

import os
from unittest.mock import Mock

import pytest
from offload.cli.root import command_line
from typer.testing import CliRunner

ENVIRONMENT = {
    name: None for name in (*os.environ, "OFFLOAD_SERVER") if name.startswith("OFFLOAD_")
}


def run(*words, given=None, env=None):
    words = [str(word) for word in words]
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (ENVIRONMENT | (env or {})).items():
            patched.delenv(name, raising=False)
            if value is not None:
                patched.setenv(name, value)
        # This process has the log of all tests, so it is not set to errors only; and what the pool
        # says of threads, which tests here use, would go to standard output.
        patched.setattr("app.local.configure_logging", lambda _: None)
        patched.setattr("app.cpu.pool.log", Mock())
        return CliRunner().invoke(command_line(words), words, input=given)


def made(folder):
    """What is there beside the inputs."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return sorted(found - {"photo.jpg", "access.log"})
