"""What the documentation says is so: its commands parse, its options exist, its links lead somewhere, its messages are ones that dtb prints."""

import ast
import functools
import importlib
import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml
from markdown.extensions.toc import slugify

import dtb
from dtb.cli.command_line import parse
from dtb.commands import COMMANDS
from dtb.config import Config, load_config, to_plain
from dtb.report.methods import REFERENCE
from dtb.tasks.spec import load_task, shipped_tasks
from scripts.docs_reference import made_pages
from tests.docs.pages import PAGES, ROOT, blocks, commands

made_once = functools.cache(made_pages)
EXAMPLES = {"gambles"}  # tests/tasks/test_derive.py reads events through it


@pytest.mark.slow
def test_every_command_is_one_that_dtb_or_this_repository_has(monkeypatch):
    monkeypatch.chdir(ROOT)
    seen = 0
    for page, line in commands():
        words = shlex.split(line)
        if words[0] == "dtb" and words[1] not in {"--help", "--version", "--completion"}:
            assert words[1] in COMMANDS, f"{page}: {line}"
            try:
                parse(words[1], words[2:])
            except SystemExit:
                pytest.fail(f"{page}: options of `{line}` are not accepted")
            seen += 1
        elif words[0] == "bash":
            assert (ROOT / words[1]).is_file(), f"{page}: {line}"
    assert seen > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_stands_outside_the_blocks_that_are_run(page):
    outside = re.sub(r"^( *)```.*?^\1```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    assert not re.findall(r"^(?: {4,}|\t+)(?:\$ )?dtb .*$", outside, re.MULTILINE)


def test_every_yaml_block_is_a_configuration_or_a_task(tmp_path):
    found = blocks("yaml")
    assert len(found) >= 2
    for page, block in found:
        path = tmp_path / "block.yaml"
        path.write_text(block)
        if "alternatives:" in block:
            assert load_task(str(path)).name in {*shipped_tasks(), *EXAMPLES}, page
        else:
            assert isinstance(load_config(path), Config), page


def test_every_option_that_is_named_exists():
    sections = {name: set(values) for name, values in to_plain(Config()).items() if isinstance(values, dict)}
    named = 0
    for page in PAGES:
        for section, option in re.findall(r"`([a-z]+)\.([a-z_]+)(?::[^`]*)?`", page.read_text(encoding="utf-8")):
            if section in sections and option not in {"py", "json", "yaml", "jsonl", "tsv", "safetensors"}:
                assert option in sections[section], f"{page.name}: {section}.{option}"
                named += 1
    assert named > 20


def test_the_citation_names_this_version_and_the_paper_that_the_report_cites():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["version"] == dtb.__version__
    assert [one["doi"] for one in cited["references"]] == [REFERENCE["doi"]]


@pytest.mark.slow
def test_every_link_and_image_leads_to_a_file_and_every_anchor_to_a_heading():
    made = made_once()
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if target.startswith("http"):
                continue
            name, _, anchor = target.partition("#")
            place = page.parent / name if name else page
            assert name in made or place.is_file(), f"{page.name}: {target}"
            if anchor:
                text = made.get(name) or place.read_text(encoding="utf-8")
                headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
                assert anchor in {slugify(heading, "-") for heading in headings}, f"{page.name}: {target}"


def test_every_message_that_is_explained_is_one_that_dtb_prints():
    texts = []
    for source in (ROOT / "dtb").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    everything = "\n".join(texts).replace("`", "")
    headings = re.findall(
        r"^### `(.*)`$", (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(headings) > 8
    for heading in headings:
        for part in heading.split("..."):
            assert part.strip().replace("stage.json", "…") in everything.replace("stage.json", "…"), heading


def test_each_fault_names_the_test_that_causes_it_or_says_that_none_does():
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    tests = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    assert set(re.findall(r"`(test_\w+)`", page)) <= tests
    rows = [line for line in page.splitlines() if line.startswith("| ") and "how it is caused" not in line]
    assert len(rows) > 30
    for row in rows:
        how = row.removesuffix(" |").rpartition("| ")[2]
        assert "`test_" in how or "*not caused*" in how, row


def test_the_reference_has_every_option_and_every_command():
    made = made_once()
    page = made["reference/configuration.md"]
    for section, values in to_plain(Config()).items():
        for option in values if isinstance(values, dict) else [section]:
            assert f"| `{option}` |" in page
    assert "| `fold` | `0` | a whole number from 0 |" in page
    python = "\n".join(made.values())
    for path in (ROOT / "dtb").rglob("*.py"):
        if not path.stem.startswith("__"):
            assert f"::: dtb.{'.'.join(path.relative_to(ROOT / 'dtb').with_suffix('').parts)}\n" in python + "\n"
    explained = made["reference/commands.md"]
    assert all(f"## dtb {name}" in explained for name in COMMANDS)
    assert "--num-workers" in explained


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_nothing_of_any_other_host(tmp_path):
    pytest.importorskip("mkdocs", reason="needs mkdocs-material, of the extra `dev`")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": search, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]+src="([^"]+)"', html)
        loaded += re.findall(r'<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+href="([^"]+)"', html)
        assert not [place for place in loaded if place.startswith(("http", "//"))], page


def test_the_reference_of_each_package_begins_with_what_is_public():
    pages = {name: text for name, text in made_once().items() if name.startswith("reference/python/dtb")}
    assert "`train_twin`" in pages["reference/python/dtb.md"]
    for name, text in pages.items():
        room = name.removeprefix("reference/python/").removesuffix(".md")
        public = [each for each in importlib.import_module(room).__all__ if not each.startswith("_")]
        assert re.findall(r"`(\w+)`", text.split("\n\n")[1]) == public
