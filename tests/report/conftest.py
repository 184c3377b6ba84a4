import html

import pytest


@pytest.fixture
def undrawn(monkeypatch):
    """Reports whose figures are made and not drawn, for tests of words and tables: drawing is most of their time."""

    def labelled(figure, alt, prefix):
        return f'<svg role="img" aria-label="{html.escape(alt, quote=True)}"></svg>'

    monkeypatch.setattr("turbo_kit.report.page.inline_svg", labelled)
