"""The page's colours can be told from its background and from one another, also by the colour-blind."""

import itertools
import re
from importlib.resources import files

import numpy as np
import pytest

CSS = files("coral_mtl.report").joinpath("templates/report.css").read_text()
BLOCKS = dict(
    zip(("light", "dark"), re.findall(r":root(?:\[data-theme=\"dark\"\])? \{(.*?)\}", CSS, re.S), strict=False)
)
THEMES = {theme: dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for theme, block in BLOCKS.items()}

VISIONS = {  # Machado, Oliveira and Fernandes, IEEE TVCG 15(6), 2009, severity 1, on linear RGB
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.95047, 1.0, 1.08883])
SAME_DASH = [(0, 1, 2, 3), (4, 5), (6, 7)]


def linear(colour):
    srgb = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """The ratio of WCAG 2."""
    low, high = sorted(float(TO_XYZ[1] @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(colour, vision):
    xyz = TO_XYZ @ np.clip(np.array(vision) @ linear(colour), 0, 1) / WHITE
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_lines_stand_out_from_the_page(theme):
    colours = THEMES[theme]
    for name in ("text", "muted", "accent", "error", "warning", "note", "good", "bad"):
        assert contrast(colours[name], colours["page"]) >= 4.5, name
    for name in (f"{family}{number}" for family in "st" for number in range(8)):
        assert contrast(colours[name], colours["page"]) >= 3.0, name
    for number in range(9):
        text = colours["on-deep" if number in (0, 1, 7, 8) else "on-pale"]
        assert contrast(colours[f"m{number}"], text) >= 4.5, number


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_lines_of_one_dash_can_be_told_apart(theme, vision):
    for family, group in itertools.product("st", SAME_DASH):
        for one, other in itertools.combinations(group, 2):
            pair = [lab(THEMES[theme][f"{family}{number}"], VISIONS[vision]) for number in (one, other)]
            assert np.linalg.norm(pair[0] - pair[1]) >= 10, (family, one, other)
