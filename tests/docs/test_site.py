"""The documentation site: it builds without warnings, its links lead somewhere, it works offline."""

import importlib
import inspect
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import maninegs_sampling as mn
from maninegs_sampling import errors

ROOT = Path(__file__).parents[2]
API = {page: page.read_text(encoding="utf-8") for page in (ROOT / "docs/api").glob("*.md")}
DOCUMENTED = [name for text in API.values() for name in re.findall(r"^::: (\S+)", text, re.M)]


class Links(HTMLParser):
    """What a page offers as targets, what it links to, and what it loads."""

    def __init__(self, page: Path):
        super().__init__()
        self.ids, self.links, self.loaded = set(), [], []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.ids |= {named[key] for key in ("id", "name") if named.get(key)}
        if named.get("href"):
            self.links.append(named["href"])
        if named.get("src") or (tag == "link" and named.get("rel") == "stylesheet"):
            self.loaded.append(named.get("src") or named["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for module in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(module, reason=f"{module} comes with the extra docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    # 404.html is served at any address, so its links are absolute
    return {page: Links(page) for page in site.rglob("*.html") if page.name != "404.html"}


def test_every_public_name_is_on_one_api_page():
    assert len(DOCUMENTED) == len(set(DOCUMENTED))
    assert {f"maninegs_sampling.{name}" for name in mn.__all__} <= set(DOCUMENTED)
    members = vars(errors).values()
    own = {m for m in members if inspect.isclass(m) and issubclass(m, mn.ManiNegError)}
    own -= {mn.ManiNegError}
    assert {f"{errors.__name__}.{error.__name__}" for error in own} <= set(DOCUMENTED)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_name_on_an_api_page_exists(name):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute)


def test_the_site_shows_the_documented_names_and_their_examples(site, pages):
    shown = {i for page, found in pages.items() if page.parent.name == "api" for i in found.ids}
    assert set(DOCUMENTED) <= shown
    losses = (site / "api/losses.html").read_text(encoding="utf-8")
    assert "&gt;&gt;&gt; " in losses
    assert not re.search(r"<p>\s*&gt;&gt;&gt;", losses)  # an example is code, no paragraph


def test_links_on_the_site_lead_to_pages_and_headings(pages):
    missing = []
    for page, found in pages.items():
        for link in found.links + found.loaded:
            address = urlsplit(link)
            if address.scheme:
                continue
            target = (page.parent / unquote(address.path)).resolve() if address.path else page
            heading = unquote(address.fragment)
            if not target.is_file() or (
                heading and target in pages and heading not in pages[target].ids
            ):
                missing.append((page.name, link))
    assert len(pages) > 20
    assert not missing


def test_the_site_asks_no_other_server(site, pages):
    assert [
        link for found in pages.values() for link in found.loaded if urlsplit(link).netloc
    ] == []
    assert "nt_xent" in (site / "search/search_index.js").read_text(encoding="utf-8")
