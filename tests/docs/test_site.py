"""The built site in a real browser, opened from disk: it says nothing on the console and asks nothing of a network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

pytest.importorskip("material", reason="the extra docs is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    return folder


def test_no_page_names_a_script_or_style_of_another_place(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 12
    for page in pages:
        text = page.read_text()
        assert 'src="http' not in text
        assert '<link rel="stylesheet" href="http' not in text


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser in {CHROMIUM}")
def test_pages_and_search_work_from_disk_on_desktop_and_phone(site):
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    said, asked = [], []
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=OPTIONS)
        for width, height in ((1280, 900), (390, 844)):
            page = browser.new_page(viewport={"width": width, "height": height})
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("request", lambda request: asked.append(request.url))
            for name in ("protocols.html", "methods/cluster_mac.html"):
                page.goto((site / name).as_uri())
                assert (
                    page.evaluate("document.documentElement.scrollWidth") == width
                )  # wide tables scroll by themselves
        page = browser.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.goto((site / "index.html").as_uri())
        page.locator(".md-search__input").click()
        page.keyboard.type("fingerprint")
        first = page.locator(".md-search-result__link").first
        first.wait_for(timeout=20_000)
        found = page.locator(".md-search-result__link").evaluate_all("links => links.map(link => link.href)")
        browser.close()
    assert any("protocols.html" in link for link in found)
    assert said == []
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
