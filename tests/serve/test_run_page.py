"""What the page tells of the run: its welcome, its tabs, on a desk and on a phone; and how a key is asked for."""

import json

import pytest

from serving import serving

PHONE = {"width": 360, "height": 740}
WIDER_THAN_SHOWN = """[...document.querySelectorAll("main *")]
    .filter((node) => getComputedStyle(node).overflowX === "auto" && node.scrollWidth > node.clientWidth + 1)
    .map((node) => node.outerHTML.slice(0, 80))"""
LABELS = """[...document.querySelectorAll("#ledger tr:nth-child(1) td")]
    .map((cell) => getComputedStyle(cell, "::before").content)"""


@pytest.fixture
def scored(run):
    """The run as if its latest stage had been scored."""
    task = {"accuracy": 0.6, "low": 0.5, "high": 0.75, "n": 50, "chance": 0.25, "without_tool": None}
    without = {"accuracy": 0.1, "n": 50, "low": 0.05, "high": 0.2}
    tasks = {"a-task": task, "another": task | {"chance": 0.0, "without_tool": without}}
    stages = {name: {"val_bpb": 1.25, "val_loss": None, "tasks": tasks} for name in ("base", "mid", "sft")}
    answers = [
        {"task": "one", "prompt": "Short but wrong?", "correct": False},
        {"task": "one", "prompt": "What is 12 and 12?", "correct": True},
        {"task": "one", "prompt": "What is 123 and 123?", "correct": True},
        {"task": "one", "prompt": "四加四是多少？", "correct": True},
        {"task": "two", "prompt": "What is 33 and 33, at length?", "correct": True},
    ]
    written = run.folder / "results.json", run.stage_folder("sft") / "answers.jsonl"
    run.write_results(run.read_results() | {"stages": stages})
    written[1].write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    yield
    for path in written:
        path.unlink()


def suggested(page):
    return page.locator(".tries button").all_text_contents()


def test_the_welcome_suggests_what_the_latest_stage_can_answer(scored, opened):
    """Of every task, in the reader's language where there is one; a click asks."""
    page = opened()
    assert suggested(page) == ["What is 12 and 12?", "What is 33 and 33, at length?"]
    page.select_option("#language", "zh")
    assert suggested(page) == ["四加四是多少？", "What is 33 and 33, at length?"]
    page.click(".tries button >> nth=0")
    page.wait_for_selector("#send", state="visible")
    assert page.inner_text(".user .said") == "四加四是多少？"
    assert page.text_content("#answer-0-sft .body") != ""
    page.click("#new")
    assert len(suggested(page)) == 2


def test_a_run_that_was_not_scored_suggests_nothing(opened):
    page = opened()
    assert page.is_visible(".welcome h2")
    assert suggested(page) == []


def test_where_a_key_is_wanted_the_page_asks_for_it(run, browser):
    """And keeps it as long as the tab is open."""
    with serving(run, api_key="secret") as url:
        page = browser.new_context(locale="en-GB").new_page()
        page.goto(url)
        page.wait_for_selector("#key", state="visible")
        assert "key" in page.inner_text("#notice")
        page.fill("#key", "wrong")
        page.keyboard.press("Tab")
        page.wait_for_timeout(300)
        assert page.locator("#stages input").count() == 0
        page.fill("#key", "secret")
        page.keyboard.press("Enter")
        page.wait_for_selector("#stages input")
        assert not page.is_visible("#notice")
        page.reload()
        page.wait_for_selector("#stages input")
        page.fill("#message", "What is 3 and 3?")
        page.keyboard.press("Enter")
        page.wait_for_selector("#answer-0-sft .tools")
        assert page.locator("#answer-0-sft .fault").count() == 0
        page.click("#tab-xrays")
        page.frame_locator("#xray").locator(".tokens .t").first.wait_for()


def test_intervals_are_drawn_to_scale(scored, opened):
    page = opened()
    page.click("#tab-results")
    page.wait_for_selector("#results .track")
    assert page.locator("#results tbody tr").count() == 5, "two losses, two tasks, one of them without its tool, too"
    assert "60 [50–75]" in page.inner_text("#results tbody tr:nth-child(3) td:nth-child(2)")
    track, interval, point, chance = (
        page.locator(f"#results tbody tr:nth-child(3) td:nth-child(2) {part}").bounding_box()
        for part in (".track", ".interval", ".point", ".chance")
    )

    def place(x):
        return (x - track["x"]) / track["width"]

    assert place(interval["x"]) == pytest.approx(0.5, abs=0.01)
    assert place(interval["x"] + interval["width"]) == pytest.approx(0.75, abs=0.01)
    assert place(point["x"] + point["width"] / 2) == pytest.approx(0.6, abs=0.02)
    assert place(chance["x"]) == pytest.approx(0.25, abs=0.01)
    assert page.locator("#results tbody tr:nth-child(4) .chance").count() == 0, "where guessing reaches nothing"


def test_the_runs_tabs_with_the_keyboard(opened):
    page = opened()
    page.focus("#tab-chat")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#curves svg")
    assert page.locator("#curves svg").count() == 6
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#results p")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#ledger table")
    assert "texts.jsonl" in page.inner_text("#ledger")
    page.keyboard.press("ArrowRight")
    xray = page.frame_locator("#xray")
    xray.locator(".tokens .t").first.wait_for()
    assert xray.locator("h1").inner_text().startswith("sft step 0"), "the latest stage's, at once"
    page.select_option("#xray-stage", "base")
    page.fill("#xray-step", "1")
    page.click("#xray-form button")
    xray.locator("h1", has_text="base step 1").wait_for()
    page.select_option("#language", "zh")
    xray.locator("html[lang=zh-CN] h1", has_text="base step 1").wait_for()


def test_on_a_phone_everything_fits(scored, opened):
    page = opened(viewport=PHONE)
    assert page.locator("header").bounding_box()["height"] < 90
    assert page.locator("#bar").bounding_box()["height"] < 60
    for tab in ("curves", "results", "ledger", "xrays"):
        page.click(f"#tab-{tab}")
        page.wait_for_selector({"curves": "svg", "xrays": "#xray"}.get(tab, f"#{tab} table"))
        assert page.evaluate(WIDER_THAN_SHOWN) == [], tab
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.click("#tab-curves")
    page.wait_for_selector("svg text")
    assert page.locator("svg text").first.bounding_box()["height"] >= 11, "to be read"
    page.click("#tab-ledger")
    page.wait_for_selector("#ledger td")
    assert page.evaluate(LABELS)[1:3] == ['"planned"', '"trained"']
