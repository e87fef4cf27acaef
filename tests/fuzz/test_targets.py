"""The fuzz targets are complete and none breaks at once; the sieges hold for some seconds of CI."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.mutate import SDP_WORDS, SIP_WORDS, Mutator
from fuzz.seeds import sdp_bodies
from fuzz.siege import besiege_media, besiege_sip
from fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
PACKAGES = ("tunnel", "inside_agent", "outside_server")
SLOW = ("Face.", "enrol", "Authority", "from_certificate", "load_c", "UserAgent")  # fewer inputs each


def functions_untrusted() -> Iterator[str]:
    """``module:Class.function`` of every function that takes bytes from a network."""

    def walk(node: ast.AST, prefix: str) -> Iterator[str]:
        for each in ast.iter_child_nodes(node):
            if isinstance(each, ast.ClassDef):
                yield from walk(each, f"{prefix}{each.name}.")
            elif isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                if each.name.endswith("_untrusted"):
                    yield prefix + each.name
                yield from walk(each, f"{prefix}{each.name}.")

    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield from walk(ast.parse(path.read_text(encoding="utf-8")), f"{module}:")


def test_every_function_that_takes_hostile_bytes_has_a_target() -> None:
    """A1: and no target is left of one that is gone."""
    assert set(functions_untrusted()) == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_bears_its_seeds_and_some_hundred_twists_of_them(name: str) -> None:
    """A1: what is refused is refused as a bad packet, and as nothing else."""
    target = TARGETS[name]
    seeds = list(target.seeds())
    assert seeds
    for data in (*seeds, b"", b"\x00", b"\xff" * 300):
        target(data)
    words = SDP_WORDS if ".media." in name else SIP_WORDS
    mutator = Mutator(random.Random(name), seeds, words)
    for _ in range(20 if any(word in name for word in SLOW) else 200):
        target(mutator.one())


@pytest.mark.parametrize("seed", [1, 2])
def test_no_message_breaks_or_stalls_a_listener(seed: int) -> None:
    """A1, A6: mutated messages at both faces; nothing inside is told, and all is forgotten in the end."""
    outcome = besiege_sip(800, seed)
    assert outcome.inputs == 800
    assert outcome.counts["sent request"] > 100, "the inputs are so broken that nothing is tried"


@pytest.mark.parametrize("seed", [1, 2])
def test_no_description_breaks_or_stalls_the_media_of_a_call(seed: int) -> None:
    """A1: mutated descriptions through both ends; no inside address stands where media go, and no port is left held."""
    outcome = besiege_media(1500, seed, sdp_bodies())
    assert outcome.inputs == 1500
    assert outcome.counts["relayed"] > 300
