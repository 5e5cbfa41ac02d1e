"""A report as one HTML file: no network, no other file, and nothing that a name in the data could do to it."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from coral_mtl.report import wording
from coral_mtl.report.contents import contents
from coral_mtl.report.groups import Group, grouped
from coral_mtl.report.payload import chart_data, script_json
from coral_mtl.report.runs import Material
from coral_mtl.report.sections import sections

_STYLES = ("vendor/uPlot.min.css", "templates/report.css")
_SCRIPTS = ("templates/theme.js", "vendor/uPlot.iife.min.js", "templates/report.js")
_LICENCE = "vendor/uPlot.LICENSE"


def render(material: Material) -> str:
    """Return the page.

    Its policy (Content-Security-Policy) lets a browser run and apply the scripts and styles written here, known by
    their hashes, and nothing else; and load nothing.
    """
    groups = grouped(material.runs)
    charts = sections(groups)
    data = {"charts": {chart.key: chart_data(chart) for chart in charts.all()}, "last": _last_step(groups)}
    styles, scripts = _texts(_STYLES), _texts(_SCRIPTS)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            **contents(groups, material, charts),
            version=version("coral-mtl"),
            written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            styles=styles,
            scripts=scripts,
            style_hashes=_hashes(styles),
            script_hashes=_hashes(scripts),
            licence=_texts((_LICENCE,))[0],
            data=Markup(script_json(data)),
        )
    )


def _last_step(groups: Sequence[Group]) -> int:
    return max(run.diagnosis.statistics.last_step for group in groups for run in group.runs)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("coral_mtl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"name": wording.name, "figure": wording.figure, "described": wording.described}
    return environment


def _texts(names: tuple[str, ...]) -> list[Markup]:
    """Our own files, which go into the page as they are."""
    return [Markup(files("coral_mtl.report").joinpath(name).read_text(encoding="utf-8")) for name in names]


def _hashes(texts: list[Markup]) -> str:
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
