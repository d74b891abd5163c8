"""Results of tests as nearly every test tool writes them: JUnit XML."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from steward.deploy.evidence import Suite
from steward.errors import ConfigError


def suite(path: Path) -> Suite:
    """The counts of a file, from its test cases: the totals that tools write beside them differ.

    Raises:
        ConfigError: it is no such file.
    """
    try:
        # One's own results; expat 2.4.1 and newer refuses to expand entities without end.
        root = ElementTree.parse(path).getroot()  # noqa: S314
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ElementTree.ParseError as error:
        raise ConfigError(f"{path}: no JUnit XML: {error}") from error
    if root.tag not in ("testsuite", "testsuites"):
        raise ConfigError(f"{path}: no JUnit XML: it begins with <{root.tag}>")
    cases = list(root.iter("testcase"))

    def count(tag: str) -> int:
        return sum(case.find(tag) is not None for case in cases)

    # Errors outside of any case, as of a file that could not be loaded.
    outside = sum(len(one.findall("error")) for one in root.iter("testsuite"))
    return Suite(
        tests=len(cases), failures=count("failure"), errors=count("error") + outside, skipped=count("skipped")
    )
