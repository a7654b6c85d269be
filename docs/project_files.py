"""Shows files outside docs/ on the site: pages of the navigation, and whatever a page links to.

A file keeps its path below `project/`: benchmarks/results/README.md is a page of the site, its
pictures are beside it, a notebook is a page with its outputs, and a source file is a page that
shows its text. Links between pages are written for a reader of the repository; here they are
changed to lead to the same file on the site.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\]\()([^)#\s]+)")
LANGUAGES = {".py": "python", ".toml": "toml", ".yml": "yaml", ".cff": "yaml"}


def in_project(page: str) -> str:
    """Return the path in the project of a page, given its path on the site."""
    project = page.removeprefix("project/")
    return f"docs/{page}" if project == page else project


def site_path(path: str) -> str:
    """Return the path on the site of a file, given its path in the project."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.endswith(".ipynb"):
        return f"project/{path.removesuffix('.ipynb')}.md"
    is_source = Path(path).suffix not in (".md", ".png", ".svg")
    return f"project/{path}" + (".md" if is_source else "")


def target(path: str, link: str) -> str | None:
    """Return the path in the project of what a file links to, or None if it is no file."""
    found = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    is_file = not link.startswith("/") and (ROOT / found).is_file()
    return found if is_file and not found.startswith("..") else None


def nav_pages(nav: object) -> Iterator[str]:
    """Yield the paths in the navigation."""
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from nav_pages(entry)


def outside_docs(config: MkDocsConfig) -> set[str]:
    """Return the paths in the project of the files outside docs/ that the site shows."""
    waiting = [f"docs/{page.relative_to(ROOT / 'docs')}" for page in ROOT.glob("docs/**/*.md")]
    waiting += [in_project(page) for page in nav_pages(config.nav)]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        if not path.endswith(".md"):
            continue
        text = (ROOT / path).read_text(encoding="utf-8")
        linked = {target(path, link) for link in LINK.findall(text)} - {None} - seen
        seen |= linked
        waiting += linked
    return {path for path in seen if not path.startswith("docs/")}


def notebook_files(path: str, config: MkDocsConfig) -> Iterator[File]:
    """Yield a notebook as a page, with the outputs that are stored in it, and its pictures."""
    page = Path(site_path(path))
    # Tables as text, like the rest of the output, and not as HTML with a style of its own.
    shown = Config({"NbConvertBase": {"display_data_priority": ["image/png", "text/plain"]}})
    exporter = MarkdownExporter(config=shown)
    names = {"output_files_dir": page.stem, "unique_key": page.stem}
    text, found = exporter.from_filename(str(ROOT / path), resources=names)
    text = text.replace("![png]", "![What the cell above shows]")
    yield File.generated(config, str(page), content=text)
    for name, content in found["outputs"].items():
        yield File.generated(config, str(page.parent / name), content=content)


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the files outside docs/."""
    for path in sorted(outside_docs(config)):
        if path.endswith((".md", ".png", ".svg")):
            files.append(File.generated(config, site_path(path), abs_src_path=str(ROOT / path)))
            continue
        if path.endswith(".ipynb"):
            for file in notebook_files(path, config):
                files.append(file)
            continue
        language = LANGUAGES.get(Path(path).suffix, "text")
        text = (ROOT / path).read_text(encoding="utf-8")
        content = f"---\nsearch:\n  exclude: true\n---\n# {path}\n\n````{language}\n{text}````\n"
        files.append(File.generated(config, site_path(path), content=content))


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Change the links of a page to the places that the files have on the site."""
    here = page.file.src_uri

    def moved(link: re.Match[str]) -> str:
        found = target(in_project(here), link[0])
        return posixpath.relpath(site_path(found), posixpath.dirname(here)) if found else link[0]

    return LINK.sub(moved, markdown)
