"""The command ``steward``.

The sections are imported here; each of their modules imports what is slow to
load (boto3, pymongo) inside its commands, so that ``--help`` is quick.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from steward import __version__
from steward.backup.commands import app as backup_app
from steward.deploy.commands import app as deploy_app
from steward.drill.commands import app as drill_app
from steward.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, Interrupted, StewardError
from steward.invocation import Invocation
from steward.logs.commands import app as logs_app
from steward.metrics.commands import app as metrics_app
from steward.restore.commands import app as restore_app

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

app = typer.Typer(
    name="steward",
    help="Backs up and restores the MongoDB of a backend, to the second, and archives its logs.",
    epilog="Example: steward backup full    Exit status: 0 done, 1 failed, 2 wrong usage or configuration,"
    " 3 a fault was found, 4 another run holds the lock, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(backup_app, name="backup")
app.add_typer(restore_app, name="restore")
app.add_typer(drill_app, name="drill")
app.add_typer(metrics_app, name="metrics")
app.add_typer(logs_app, name="logs")
app.add_typer(deploy_app, name="deploy")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"steward {__version__}")
        raise typer.Exit


@app.callback(no_args_is_help=True)
def options(
    context: typer.Context,
    config: Annotated[
        Path, typer.Option(envvar="STEWARD_CONFIG", help="The configuration file.", show_default=True)
    ] = Path("/etc/steward/steward.toml"),
    secrets: Annotated[
        Path | None, typer.Option(help="The secrets file; default: secrets.toml beside the configuration.")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,  # its callback has done it all
) -> None:
    """Options that stand before the command."""
    context.obj = Invocation(config_path=config, secrets_path=secrets, debug=debug)


def _interrupt(signum: int, _frame: FrameType | None) -> None:
    # A second signal must not cut the clean-up short.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise Interrupted(signal.Signals(signum).name)


def main(arguments: list[str] | None = None) -> int:
    """Run one command and give its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    # A core would hold passwords and the data themselves. mongodump and mongorestore inherit it.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    before = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    try:
        status = app(args=arguments, prog_name="steward", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except typer.TyperException as error:
        # Called without a command, it has shown the help, and no message is left.
        if message := error.format_message().strip():
            _say(f"{message} See: steward --help")
        return EXIT_USAGE
    except (Interrupted, typer.Abort, KeyboardInterrupt):
        _say("interrupted; nothing unfinished counts as a backup")
        return EXIT_INTERRUPTED
    except StewardError as error:
        _say(str(error), debug)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output has gone; Python must not try to flush to it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        _say(f"unexpected error, report it with the output of --debug: {text}", debug)
        return EXIT_FAILED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(message: str, debug: bool = False) -> None:
    """The one line about an error, after its traceback if that is wanted."""
    if debug:
        traceback.print_exc()
    print(f"steward: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
