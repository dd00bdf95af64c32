"""Command line: one module for each command, imported when it is called."""

from __future__ import annotations

import sys

import click

from wheelgate.cli.groups import LazyGroup
from wheelgate.core.errors import ConfigurationError, WheelgateError


@click.group(
    cls=LazyGroup,
    commands_in={
        "serve": ("wheelgate.cli.serve:serve", "Run the server."),
        "check": ("wheelgate.cli.check:check", "Validate the settings, and test the store and every source."),
        "connection": ("wheelgate.cli.connection:connection", "Manage stored credentials."),
        "wheel": ("wheelgate.cli.wheel:wheel", "Add, list, yank and delete wheels and sdists."),
        "mirror": ("wheelgate.cli.mirror:mirror", "Copy what inputs need to where builds can reach it."),
        "rewrite": ("wheelgate.cli.rewrite:rewrite", "Replace private URLs in requirements and conda files."),
        "token": ("wheelgate.cli.token:token", "Manage tokens for people and builds."),
        "explain": ("wheelgate.cli.explain:explain", "Explain the answer for a project."),
        "release": ("wheelgate.cli.release:release", "Let public sources answer for a claimed name again."),
    },
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="wheelgate", message="wheelgate %(version)s")
def cli() -> None:
    """One authenticating Python package index in front of public PyPI and your private packages.

    `wheelgate serve` works without configuration, and prints the URL for pip and uv.
    """


def main() -> None:
    """Run the `wheelgate` command: exit status 0, 1 for a failure, 2 for wrong usage or configuration; never a traceback."""
    try:
        cli.main(standalone_mode=False)
    except ConfigurationError as error:
        for problem in error.problems:
            print(f"wheelgate: {problem}", file=sys.stderr)
        sys.exit(2)
    except WheelgateError as error:
        print(f"wheelgate: {error}", file=sys.stderr)
        sys.exit(1)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("wheelgate: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
