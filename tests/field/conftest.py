"""The field rig's fixtures: the network for the whole run, a folder for each module's logs, and logs in failure reports."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from field.rig.host import Host, remove_abandoned
from field.rig.network import Network
from field.rig.program import forget_ended, tails

_PROGRAMS = ("baresip", "linphone-daemon", "sipp", "kamailio", "nft", "tcpdump", "ip", "ss")

os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _why_not() -> str:
    """Why field tests cannot run here; "" if they can."""
    if os.geteuid() != 0:
        return "field tests need root for network namespaces"
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"field tests need {', '.join(missing)}: install the packages in tests/field/packages.txt"
    try:
        remove_abandoned()
        Host("probe").remove()
    except (OSError, RuntimeError) as error:
        return f"field tests need network namespaces: {error}"
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    field_items = [item for item in items if item.get_closest_marker("field")]
    if field_items and (why := _why_not()):
        for item in field_items:
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
    with Network() as made:
        yield made


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the module's programs keep configurations, recordings and logs."""
    return tmp_path_factory.mktemp(re.sub(r"\W", "-", request.module.__name__.rpartition(".")[2]))
