"""A report's page taken apart again."""

import json
import re
from html.parser import HTMLParser

from coral_mtl.report.page import render
from coral_mtl.report.runs import read_runs


class Page(HTMLParser):
    """All elements in order as (name, attributes), the visible text, and the data of the charts."""

    def __init__(self, html):
        super().__init__()
        self.html = html
        self.elements, self._open, self._text, self._scripts = [], [], [], []
        self.feed(html)
        self.text = " ".join(" ".join(self._text).split())
        self.data = json.loads(next(text for kind, text in self._scripts if kind == "application/json"))
        self.charts = self.data["charts"]

    @classmethod
    def of(cls, *paths):
        return cls(render(read_runs(paths)))

    def section(self, anchor):
        """The text of one section."""
        part = re.search(rf'<section id="{anchor}">(.*?)</section>', self.html, re.S)
        return " ".join(re.sub(r"<[^>]*>", " ", part[1]).split()) if part else None

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag in ("script", "style"):
            self._open.append((tag, dict(attributes).get("type")))

    def handle_endtag(self, tag):
        if self._open and self._open[-1][0] == tag:
            self._open.pop()

    def handle_data(self, data):
        if not self._open:
            self._text.append(data)
        elif self._open[-1][0] == "script":
            self._scripts.append((self._open[-1][1], data))
