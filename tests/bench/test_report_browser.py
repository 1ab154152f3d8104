"""The report in a real browser: what its script adds, and that it needs neither a network nor the script."""

from pathlib import Path

import pytest
from report_cases import Pictures, build

CHROMIUM = Path("/usr/bin/chromium")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser in {CHROMIUM}")
playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("browsed")
    with pytest.MonkeyPatch.context() as patch:
        return build(place, patch, Pictures(place / "data").draw())


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(
            executable_path=str(CHROMIUM), args=[*OPTIONS, "--disable-sync", "--no-first-run"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, folder):
    """Opens a page of the report; at the end, nothing may have been said on the console or asked of a network."""
    said, asked, contexts = [], [], []

    def open_page(name="data/cub.html", *, viewport=DESKTOP, **options):
        contexts.append(browser.new_context(viewport=viewport, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((folder / name).as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert asked
    assert [url for url in asked if not url.startswith("file:")] == []


def test_columns_are_sorted_by_value_and_say_so(visit):
    page = visit()
    board = page.locator("table.board").filter(has_text="abir")
    head = board.locator("thead th", has_text="bytes/image")
    place = 1 + [text.split()[0] for text in board.locator("thead th").all_inner_texts()].index("bytes/image")
    values = lambda: [text.strip() for text in board.locator(f"tbody tr > :nth-child({place})").all_inner_texts()]  # noqa: E731
    assert head.get_attribute("aria-sort") is None
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert values() == ["2048", "2048", "1024"]
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert values() == ["1024", "2048", "2048"]
    board.locator("thead th").first.get_by_role("button").click()
    assert head.get_attribute("aria-sort") is None
    names = [text.split()[0] for text in board.locator("tbody th").all_inner_texts()]
    assert names == sorted(names)


def test_our_numbers_stay_below_the_printed_ones_when_a_papers_table_is_sorted(visit):
    page = visit("papers/abir.html")
    table = page.locator("table.board").first
    head = table.locator("thead th").nth(1)
    printed = table.locator("tbody tr:first-child > :nth-child(2)")
    below = lambda: dict(  # noqa: E731
        table.locator("tbody").evaluate_all("all => all.map((b) => [b.rows[0].cells[0].innerText, b.rows.length])")
    )
    before = below()
    assert set(before.values()) == {1, 2, 3}
    head.get_by_role("button").click()
    values = [float(value) for value in printed.evaluate_all("all => all.map((c) => c.dataset.value ?? 'nan')")]
    assert values == sorted(values, reverse=True)
    assert below() == before
    page.get_by_label("Find").first.fill("w/o")
    assert table.locator("tbody:visible").count() == 1


def test_filters_hide_rows_and_count_what_is_left(visit):
    page = visit()
    form = page.locator("form.filters").filter(has=page.locator("select[name=method]"))
    rows = page.locator("table.board").filter(has_text="abir").locator("tbody tr:visible")
    assert rows.count() == 3
    form.get_by_label("Method").select_option("abir")
    assert rows.count() == 2
    assert form.get_by_role("status").inner_text() == "2 of 3 rows"
    form.get_by_label("Find").fill("no_se")
    assert rows.count() == 1
    form.get_by_label("Find").fill("nowhere")
    assert rows.count() == 0
    form.get_by_label("Find").fill("")
    form.get_by_label("Method").select_option("")
    assert form.get_by_role("status").inner_text() == "3 of 3 rows"


def test_the_theme_follows_the_system_until_one_is_chosen_and_is_kept(visit):
    page = visit("index.html", color_scheme="dark")
    ground = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor")  # noqa: E731
    dark, button = ground(), page.get_by_role("button", name="Theme")
    assert button.inner_text().endswith("system")
    button.click()
    light = ground()
    assert button.inner_text().endswith("light")
    assert light != dark
    page.reload()
    assert ground() == light
    page.get_by_role("link", name="CUB-200-2011").first.click()
    page.wait_for_url("**/data/cub.html")
    assert ground() == light
    page.get_by_role("button", name="Theme").click()
    assert ground() == dark


def test_a_pair_is_chosen_and_its_links_lead_on(visit):
    page = visit()
    form = page.locator("form.chooser").first
    first, second = (form.locator(f"select[name={side}]") for side in "ab")
    second.select_option(index=0)
    form.get_by_role("button", name="Compare").click()
    assert "two different" in form.get_by_role("status").inner_text()
    first.select_option(index=1)
    form.get_by_role("button", name="Compare").click()
    page.wait_for_url("**/compare/*")
    assert "against" in page.locator("h1").inner_text()
    page.get_by_role("link", name="its page").first.click()
    page.wait_for_url("**/settings/*")
    assert page.locator("h1").inner_text() == "abir"
    assert page.evaluate("[...document.images].every((i) => { i.loading = 'eager'; return i.alt; })")


def test_no_kind_of_page_scrolls_sideways_on_a_phone_and_every_picture_is_shown(visit, folder):
    page = visit("index.html", viewport=PHONE)
    kinds = [folder / kind for kind in ("data", "papers", "settings", "compare")]
    fullest = [max(kind.glob("*.html"), key=lambda file: file.stat().st_size) for kind in kinds]
    for file in (folder / "index.html", *fullest):
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], file.name
        page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
        page.wait_for_function("[...document.images].every((image) => image.complete)")
        assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)"), file.name


def test_without_script_all_is_there_and_nothing_dead(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("table.board tbody tr:visible").count() == 5
    assert page.locator("button:visible, input:visible, select:visible").count() == 0


def test_the_keyboard_reaches_the_content_first(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
