"""The program of every stack: read what the stack is about, build it, say where it is."""

import sys
from pathlib import Path

import pulumi
import pulumi_aws as aws
from pulumi.runtime.config import get_config_env

# Pulumi starts this file with infra/ as the folder of the program; the package lies above it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from infra.config import load_stack_config
from infra.estate import build
from infra.settings import StackError
from steward.appfile import AppFileError


def caller() -> tuple[str, str]:
    """Account and ARN of the credentials; the first question to AWS, so it finds a wrong set-up."""
    try:
        found = aws.get_caller_identity()
    except Exception as error:  # the SDK raises nothing narrower, and its text begins with its own names
        raise pulumi.RunError(str(error).rpartition("returned an error: ")[2]) from error
    return found.account_id, found.arn


def main() -> None:
    """Register the resources of the current stack and export what the hosts need."""
    own = f"{pulumi.get_project()}:"
    given = {k.removeprefix(own): v for k, v in get_config_env().items() if k.startswith(own)}
    try:
        stack = load_stack_config(pulumi.get_stack(), pulumi.Config("aws").get("region"), given)
    except (StackError, AppFileError) as error:
        raise pulumi.RunError(str(error)) from error  # printed as one line, without a traceback
    for name, value in build(stack, *caller()).items():
        pulumi.export(name, value)


main()
