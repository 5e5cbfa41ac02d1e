"""The report of four strategies with three seeds of 5,000 records each, in a real browser."""

import pytest
from browser import CHROMIUM, Browser
from simulated_folders import STRATEGIES, run_folders

from coral_mtl.report.report import write_report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (apt-get install chromium)"),
]
EVIL = "</script><script>console.log('ran')</script><img src=http://127.0.0.1:9/x onerror=console.log('ran')>"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    return write_report(run_folders(folder, records=5000, restart=True), folder / "report.html").page


@pytest.fixture(scope="module")
def browser(report):
    with Browser() as opened:
        opened.open(report)
        yield opened


def middle_of(browser, selector):
    """Put an element into the middle of the window and return where its own middle is."""
    browser.run(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
    return browser.run(
        f"(() => {{const b = document.querySelector({selector!r}).getBoundingClientRect();"
        "return [b.x + b.width / 2, b.y + b.height / 2];})()"
    )


def legend(browser, chart):
    return browser.run(
        f"[...document.querySelectorAll('[data-chart=\"{chart}\"] .legend button')].map(b => b.textContent)"
    )


def test_it_is_small(report):
    assert report.stat().st_size < 1_000_000


def test_it_opens_without_a_word_on_the_console_and_asks_for_nothing(browser, report):
    assert browser.console == []
    assert browser.requests == [report.as_uri()]
    charts = browser.run("document.querySelectorAll('[data-chart]').length")
    assert charts > 25
    assert browser.run("document.querySelectorAll('.plot canvas').length") == charts


def test_the_verdict_can_be_read(browser):
    verdict = browser.run("document.querySelector('#verdict .say').innerText")
    assert verdict.startswith("Clear winner: NashMTL, over 3 seeds")


def test_pointing_at_a_curve_shows_its_figures_here_and_in_the_other_charts(browser):
    at_rest = legend(browser, "loss-0")
    browser.hover(*middle_of(browser, '[data-chart="loss-0"] .plot'))
    pointed = legend(browser, "loss-0")
    assert [text.split()[0].rstrip("0123456789.") for text in pointed] == list(STRATEGIES)
    assert pointed != at_rest
    assert all(" to " in text for text in pointed)
    where = "document.querySelector('[data-chart=\"{}\"] .where').textContent"
    assert browser.run(where.format("loss-0")).startswith("steps 2,")
    assert browser.run(where.format("lr")) == browser.run(where.format("loss-0"))
    browser.hover(1, 1)
    assert legend(browser, "loss-0") == at_rest


def test_the_keyboard_walks_along_a_curve_and_hides_a_line(browser):
    box = '[data-chart="loss-1"] .plot'
    browser.run(f"document.querySelector({box!r}).focus()")
    for _ in range(3):
        browser.press("ArrowLeft")
    spoken = browser.run("document.querySelector('[data-chart=\"loss-1\"] .spoken').textContent")
    assert spoken.startswith("steps 4,")
    assert all(name in spoken for name in STRATEGIES)
    button = "document.querySelector('[data-chart=\"loss-1\"] .legend button')"
    before = browser.run("document.querySelector('[data-chart=\"loss-1\"] canvas').toDataURL()")
    browser.run(f"{button}.click()")
    assert browser.run(f"{button}.getAttribute('aria-pressed')") == "false"
    browser.run("new Promise(requestAnimationFrame)")
    assert browser.run("document.querySelector('[data-chart=\"loss-1\"] canvas').toDataURL()") != before


def test_the_theme_follows_the_system_and_the_button(report):
    with Browser(dark=True) as opened:
        opened.open(report)
        page = "getComputedStyle(document.body).backgroundColor"
        pixels = "document.querySelector('canvas').toDataURL()"
        dark, drawn = opened.run(page), opened.run(pixels)
        opened.run("document.getElementById('theme').click()")
        opened.run("new Promise(requestAnimationFrame)")
        assert (dark, opened.run(page)) == ("rgb(18, 21, 26)", "rgb(255, 255, 255)")
        assert opened.run(pixels) != drawn
        assert opened.console == []


def test_it_fits_a_telephone(report):
    with Browser(width=390, height=844, mobile=True) as opened:
        opened.open(report)
        assert opened.run("document.documentElement.scrollWidth") == 390
        assert opened.run("Math.min(...[...document.querySelectorAll('.plot canvas')].map(c => c.clientWidth))") > 300


def test_it_can_be_printed(report, tmp_path):
    with Browser(dark=True) as opened:
        opened.open(report)
        opened.pdf(tmp_path / "report.pdf")
        assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
        assert opened.console == []


def test_names_that_are_markup_do_nothing(tmp_path):
    runs = run_folders(tmp_path, ("Equal", "NashMTL"), (0,), tasks=(EVIL, "b"), records=60)
    page = write_report(runs, tmp_path / "report.html").page
    with Browser() as opened:
        opened.open(page)
        assert opened.console == []
        assert opened.requests == [page.as_uri()]
        assert EVIL[:60] in opened.run("document.querySelector('[data-chart=\"weight-0\"] .legend').textContent")
