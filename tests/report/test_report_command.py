from simulated_folders import run_folder
from typer.testing import CliRunner

from coral_mtl.cli import app


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_report_says_where_it_is_and_what_it_left_out(tmp_path):
    first, second = run_folder(tmp_path / "a", records=5), run_folder(tmp_path / "b", seed=1, records=5)
    (second / "loss_diagnostics.jsonl").write_text("")
    result = run("report", first, second, "--output", tmp_path / "page.html")
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path / 'page.html'}\n"
    assert result.stderr.startswith(f"left out: {second}/loss_diagnostics.jsonl: the file is empty")


def test_report_of_nothing_is_a_usage_error(tmp_path):
    result = run("report", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "there is no such file or folder" in result.stderr


def test_a_page_that_cannot_be_written_is_a_usage_error(tmp_path):
    folder = run_folder(tmp_path / "run", records=5)
    (tmp_path / "file").write_text("precious")
    for place in (tmp_path / "file" / "page.html", folder):
        result = run("report", folder, "--output", place)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"{place}: cannot be written: ")
        assert "choose another file with --output" in result.stderr


def test_watch_shows_a_finished_run_once_as_plain_text(tmp_path):
    result = run("watch", run_folder(tmp_path / "run", "NashMTL", records=60))
    assert result.exit_code == 0
    assert "reef, NashMTL, seed 0: finished" in result.stdout
    assert "\x1b" not in result.stdout


def test_watch_of_something_else_is_a_usage_error(tmp_path):
    result = run("watch", tmp_path)
    assert result.exit_code == 2
    assert "this is not the folder of a run" in result.stderr
