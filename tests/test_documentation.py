"""What the documentation says is so: its code runs, its links lead somewhere, every strategy has its section."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from coral_mtl.documentation import quickstart_table

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
NEEDS_A_RUN = ROOT / "docs" / "diagnostics.md"
"""Its code reads the folder of a run."""


def blocks(page, language):
    return [code for found, code in BLOCK.findall(page.read_text(encoding="utf-8")) if found == language]


def with_code():
    return [page for page in PAGES if page != NEEDS_A_RUN and blocks(page, "python")]


def slug(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", with_code(), ids=lambda page: page.name)
def test_code_runs_and_prints_what_the_page_says(page, capsys):
    """The blocks of a page are one program; a `text` block right after one is what it prints."""
    text = page.read_text(encoding="utf-8")
    names = {"__name__": "documentation"}
    for code, printed in re.findall(
        r"^```python\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", text, re.MULTILINE | re.DOTALL
    ):
        exec(compile(code, str(page), "exec"), names)
        output = capsys.readouterr().out
        if printed:
            assert output == printed


def test_the_pages_with_code_are_found():
    assert {"README.md", "engine.md", "choosing-a-strategy.md", "adding-a-strategy.md"} <= {p.name for p in with_code()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), f"{page.name}: {target}"


def test_every_strategy_has_its_section():
    listing = "from coral_mtl.registry import strategies; print(*strategies.names())"  # without what tests register
    names = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout.split()
    page = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    assert len(names) > 10
    for name in names:
        begin = f"### {name}\n\n<!-- generated: strategy {name} -->\n"
        assert page.count(begin) == 1, f"docs/strategies.md needs a section that begins with\n{begin}"
        figures, _, prose = page.partition(begin)[2].partition("\n#")[0].rpartition("<!-- end of generated -->")
        assert f"<!-- generated: measured {name} -->" in figures
        assert prose.count(".") >= 2, f"docs/strategies.md says nothing about {name}"
        assert page.partition("\n## ")[0].count(f"[{name}](#") == 1, f"{name} is missing in the list at the top"


def test_a_third_party_strategy_needs_no_more_than_its_page_says(tmp_path):
    page = ROOT / "docs" / "adding-a-strategy.md"
    points = tomllib.loads(blocks(page, "toml")[0])["project"]["entry-points"]
    (tmp_path / "unit_sum.py").write_text(blocks(page, "python")[0])
    metadata = tmp_path / "unit_sum-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: unit-sum\nVersion: 0.1\n")
    lines = [f"[{group}]\n{name} = {value}" for group, own in points.items() for name, value in own.items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines))

    def told(*arguments):
        command = [sys.executable, "-m", "coral_mtl", *arguments]
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    session = next(block for block in blocks(page, "") if "strategies show" in block)
    assert f"$ coral-mtl strategies show UnitSum\n{told('strategies', 'show', 'UnitSum').stdout}$" in session
    mistake = next(block for block in blocks(page, "") if "power=2" in block)
    command, _, complaint = mistake.partition("\n")
    wrong = told(*command.removeprefix("$ coral-mtl ").split())
    assert (wrong.returncode, wrong.stderr) == (2, complaint)
    options = ["loss.weighting_strategy.type=UnitSum", "trainer.epochs=1", f"trainer.output_dir={tmp_path / 'run'}"]
    small = ["data.params.train_size=128", "data.params.validation_size=64"]
    trained = told("train", "configs/strategies/equal.yaml", *options, *small)
    assert trained.returncode == 0, trained.stderr
    assert "strategy: UnitSum" in trained.stdout


def test_the_quickstart_table_is_made_of_the_measured_figures(tmp_path):
    results = tmp_path / "quickstart.json"
    assert "python benchmarks/quickstart.py" in quickstart_table(results)

    def run(strategy, seed, left):
        metrics = {"tasks.left.accuracy": left, "tasks.right.accuracy": 0.5, "tasks.ink.r2": 0.25, "global.score": 0.75}
        return {"strategy": strategy, "seed": seed, "seconds": 10.0 + seed, "metrics": metrics}

    measured = {
        "date": "2026-01-31",
        "environment": {"coral-mtl": "0.1.0", "torch": "2.4.0", "threads": "2", "processor": "a processor, 2 cores"},
        "runs": [run("Equal", 0, 0.80), run("Equal", 1, 0.90), run("NashMTL", 0, 0.95)],
    }
    results.write_text(json.dumps(measured))
    table = quickstart_table(results).splitlines()
    assert table[2] == "| `Equal` | 85.0 ± 7.1 | 50.0 ± 0.0 | 0.250 ± 0.000 | 0.750 ± 0.000 | 10 |"
    assert table[3] == "| `NashMTL` | 95.0 | 50.0 | 0.250 | 0.750 | 10 |"
    assert "over the seeds 0, 1." in table[-1]
    assert "2026-01-31" in table[-1]


def test_version_and_licence_are_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## \[(.*?)\]", changes, re.MULTILINE)[0] == project["version"]


def test_every_extra_is_explained():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [extra for extra in extras if f"| `{extra}` |" not in readme] == ["test", "dev"]
