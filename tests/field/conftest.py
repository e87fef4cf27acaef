"""The field rig's fixtures: the network for the whole run, a folder for each module's logs, and logs in failure reports."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from field.rig.host import remove_abandoned
from field.rig.network import Network
from field.rig.program import forget_ended, tails

_PROGRAMS = ("baresip", "sipp", "kamailio", "nft", "tcpdump", "ip", "ss")


def _why_not() -> str:
    """Why field tests cannot run here; "" if they can."""
    if os.geteuid() != 0:
        return "field tests need root for network namespaces"
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [program for program in _PROGRAMS if shutil.which(program, path=path) is None]
    return f"field tests need {', '.join(missing)}: see tests/field/packages.txt" if missing else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why = _why_not()
    for item in items:
        if why and item.get_closest_marker("field"):
            item.add_marker(pytest.mark.skip(reason=why))


def pytest_runtest_setup(item: pytest.Item) -> None:
    forget_ended()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and item.get_closest_marker("field"):
        report.sections += [(f"last lines of {name}", tail) for name, tail in tails()]
    return report


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """Namespaces, switches, firewall and home router: made once, removed with all that runs in them."""
    remove_abandoned()
    with Network() as made:
        yield made


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the module's programs keep configurations, recordings and logs."""
    return tmp_path_factory.mktemp(re.sub(r"\W", "-", request.module.__name__.rpartition(".")[2]))
