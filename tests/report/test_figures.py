import pytest
from simulated_folders import run_folders

from coral_mtl.errors import MissingExtraError
from coral_mtl.report.report import write_report


def test_figures_without_matplotlib_say_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    runs = run_folders(tmp_path, ("Equal",), (0,), records=5)
    with pytest.raises(MissingExtraError, match=r"pip install 'coral-mtl\[plots\]'"):
        write_report(runs, tmp_path / "report.html", figures=True)
    assert not (tmp_path / "report.html").exists()


def test_every_chart_and_table_becomes_a_pdf(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    runs = run_folders(tmp_path, ("Equal", "NashMTL"), (0, 1), tasks=("$a_b$", "_c", "d"), records=40, restart=True)
    written = write_report(runs, tmp_path / "report.html", figures=True).figures
    names = {path.name for path in written}
    assert {"loss-0.pdf", "validation-0.pdf", "norm-1.pdf", "lr.pdf", "cosines-0.pdf", "cosines-1.pdf"} <= names
    assert all(path.parent == tmp_path / "report_figures" for path in written)
    assert all(path.read_bytes().startswith(b"%PDF") for path in written)
