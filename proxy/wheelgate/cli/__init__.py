"""Command line: one module for each command, imported when it is called, so that `wheelgate --version` costs nothing."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module

import click

from wheelgate.core.errors import ConfigurationError, WheelgateError

_COMMANDS = {
    "serve": "Run the server.",
    "check": "Validate the settings, and test the store and every source.",
    "connection": "Manage stored credentials.",
    "wheel": "Add, list, yank and delete wheels and sdists.",
    "mirror": "Copy what inputs need to where builds can reach it.",
    "container": "Reorder the containers that are sources.",
    "rewrite": "Replace private URLs in requirements and conda files.",
    "token": "Manage tokens for people and builds.",
    "cache": "Forget what is kept of a file of an index.",
    "explain": "Explain the answer for a project.",
    "claims": "List the names that are private, and whose they are.",
    "release": "Let public sources answer for a claimed name again.",
}
"""In the order a newcomer needs them."""


class LazyGroup(click.Group):
    """Click group of commands that are imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command, or suggest one: click itself looks among those that are imported, and none is."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            close = get_close_matches(args[0], _COMMANDS, n=1)
            raise click.UsageError(error.message + (f" Did you mean '{close[0]}'?" if close else ""), ctx) from None

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"wheelgate.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands in the help without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wheelgate", message="wheelgate %(version)s")
def cli() -> None:
    """One authenticating Python package index in front of public PyPI and your private packages.

    `wheelgate serve` works without configuration, and prints the URL for pip and uv.
    """


def main() -> None:
    """Run the `wheelgate` command: exit status 0, 1 for a failure, 2 for wrong usage or configuration; never a traceback."""
    try:
        cli.main(standalone_mode=False)
        sys.stdout.flush()  # here, where a failure can still be told
    except ConfigurationError as error:
        for problem in error.problems:
            print(f"wheelgate: {make_printable(problem)}", file=sys.stderr)
        sys.exit(2)
    except WheelgateError as error:
        print(f"wheelgate: {make_printable(str(error))}", file=sys.stderr)
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
    except OSError as error:
        _tell_output_failed(error)


def _tell_output_failed(error: OSError) -> None:
    """End with a sentence about a file that could not be written, most often our own output on a full disk."""
    what = "the output" if error.filename is None else str(error.filename)
    with suppress(OSError):
        print(f"wheelgate: {what} cannot be used: {(error.strerror or str(error)).lower()}", file=sys.stderr)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries again at its end, and says so in its words
    sys.exit(1)


def make_printable(sentence: str) -> str:
    """Replace what a terminal would obey: sentences repeat names that an input or an upstream chose."""
    return "".join(character if character.isprintable() or character == "\n" else " " for character in sentence)
