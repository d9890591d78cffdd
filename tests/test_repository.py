"""What the repository says of itself agrees: metadata, changelog, hooks, workflow and forms."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from dtb import __version__

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CHECKS = (ROOT / "scripts" / "test").read_text(encoding="utf-8").splitlines()
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_the_metadata_name_the_authors_and_keywords_of_the_citation():
    assert [author["name"] for author in PROJECT["authors"]] == [author["name"] for author in CITATION["authors"]]
    assert PROJECT["keywords"] == CITATION["keywords"]
    assert PROJECT["license"] == CITATION["license"]
    assert any(CITATION["references"][0]["doi"] in url for url in PROJECT["urls"].values())


def test_every_python_that_is_named_is_one_that_is_allowed_and_tested():
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert named[0] == lowest
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["fast"]["strategy"]["matrix"]["python"] == named


def test_the_changelog_has_this_version_and_what_is_not_released():
    headings = re.findall(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[:2] == ["Unreleased", __version__]


def test_the_hooks_are_the_checks_that_scripts_test_makes():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    entries = [hook["entry"].removesuffix(" --force-exclude") for hook in local["hooks"]]
    made = [
        line.removesuffix(" .").removesuffix(" &") for line in CHECKS if re.match(r"(ruff|mypy|lint-imports)", line)
    ]
    assert entries == made
    assert len(entries) == 4


def test_the_workflow_needs_nothing_beside_the_repository():
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    assert not re.search(r"secrets\.|DTB_REAL_DATA|\.\./", text)
    steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]]
    commands = [step["run"] for step in steps if "run" in step]
    assert "bash scripts/test --fast" in commands
    assert "bash scripts/test" in commands
    for command in commands:
        assert (ROOT / command.split()[1]).is_file()
    (wheel,) = (step for step in steps if step.get("env", {}).get("DTB_WHEEL_EMPTY") == "1")
    assert wheel["run"].endswith("tests/test_wheel.py")


@pytest.mark.parametrize("form", [form for form in FORMS if form.name != "config.yml"], ids=lambda form: form.stem)
def test_an_issue_form_is_one_that_can_be_filled_in(form):
    content = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= content.keys()
    asked = [part for part in content["body"] if part["type"] != "markdown"]
    assert len({part["id"] for part in asked}) == len(asked) > 0
    assert all(part["attributes"]["label"] for part in asked)
    assert any(part.get("validations", {}).get("required") for part in asked)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    assert targets
    for target in targets:
        assert target.startswith("https://") or (ROOT / target.partition("#")[0]).exists(), target
