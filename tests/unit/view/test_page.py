"""The page's files: nothing in them reads HTML out of a string, needs another host, or is not there."""

from __future__ import annotations

import re

import pytest

from bgpbridge.api.http import PAGE

SCRIPTS = sorted(PAGE.glob("*.js"))
DANGEROUS = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|DOMParser|\.style\b"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_text_never_becomes_html(script):
    assert not re.search(DANGEROUS, script.read_text())


@pytest.mark.parametrize("file", sorted(PAGE.iterdir()), ids=lambda path: path.name)
def test_nothing_is_asked_of_other_hosts(file):
    text = file.read_text().replace("http://www.w3.org/2000/svg", "")
    assert "//" not in re.sub(r"(^|\s)//.*", "", text), "an address of another host"


def test_every_module_that_is_imported_is_there_and_used():
    index = (PAGE / "index.html").read_text()
    named = set(re.findall(r'page/([\w.]+)"', index))
    for script in SCRIPTS:
        named |= set(re.findall(r'from "\./([\w.]+)"', script.read_text()))
    assert named | {"index.html"} == {path.name for path in PAGE.iterdir()}
