"""The page: one file, whatever texts are in it; in a real browser it shows what the batch holds."""

import json
import re
from types import MappingProxyType

import numpy as np
import pytest

from parrotlet.data import Batch, Row, Source
from parrotlet.inspect import Finder, Material, XRay, take_xray
from parrotlet.inspect.html import page, page_data, write_page
from parrotlet.recipe import Recipe
from parrotlet.stages import STAGES
from weng import WENG

NASTY = "</script><script>window.hacked = 1</script><!-- <script> &amp; \u2028 {{data}} ' \" \\ 小鹦鹉 🦜"
TALK = [WENG] + [
    [{"role": "user", "content": f"{NASTY} {i}?"}, {"role": "assistant", "content": f"{NASTY}\n是 {i}。"}]
    for i in range(30)
]


def data_in(content: str) -> dict:
    """What a browser would find in the data element: up to the first `</script`."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script', content, re.S)[1])


def test_no_text_gets_out_of_the_data(material_of):
    xray = take_xray(material_of(TALK), STAGES["mid"])
    data = page_data(xray)
    content = page(data)
    assert data_in(content) == json.loads(json.dumps(data))
    assert content.count("<script") == content.count("</script>") == 2
    assert "<!--" not in content


def test_nothing_is_fetched_from_elsewhere(material_of):
    content = page(page_data(take_xray(material_of([WENG]), STAGES["sft"])))
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|@import|url\(|https?://""", content)


def test_32_rows_of_2048_are_under_2_MB(tmp_path):
    """With the dearest ids and texts that a vocabulary of 65,536 has: five digits, a dozen letters, all different."""
    rng = np.random.default_rng(1)
    ids = rng.integers(50_000, 65_536, (32, 2049))

    def row(values):
        sources = tuple(Source(s, "a/long-name-of-a-dataset", s, "smoltalk", 64 * s, 64 * s + 64) for s in range(32))
        return Row(values[:-1], values[1:], np.arange(2048) % 64, np.arange(2048) // 64, sources)

    class Vocabulary:
        special_ids = frozenset()

        @staticmethod
        def token_bytes(token):
            return f" length{token}".encode()

        bos = user_start = assistant_start = python_start = python_end = output_start = output_end = -1

        @staticmethod
        def token_text(token):
            return f" length{token}"

    class Order:
        cut = MappingProxyType({})

    material = Material(Recipe(name="large"))
    material.tokenizer, material.order = Vocabulary(), lambda stage: Order()
    material.where = lambda stage, source: f"{source.dataset}/data/train-00000-of-00004.parquet, row {source.index}"
    batch = Batch.from_rows([row(values) for values in ids], "segment")
    size = write_page(tmp_path / "page.html", XRay(material, STAGES["mid"], 0, batch, range(32)))
    assert size == (tmp_path / "page.html").stat().st_size < 2_000_000


@pytest.fixture
def opened(visit, tmp_path):
    """Opens the page of an x-ray."""

    def open_page(xray, beside=None, **context):
        write_page(tmp_path / "page.html", xray, beside)
        return visit(f"file://{tmp_path / 'page.html'}", **context)

    return open_page


SHOWN = """() => segments.flatMap(({piece, spans}) => spans.filter(s => s.piece === piece).map(s => ({
  row: piece.row, column: piece.start + s.i, id: piece.ids[s.i], text: text(piece.ids[s.i]), shown: s.textContent,
  on: s.classList.contains("on"), facts: Object.fromEntries(facts(piece, s.i))})))"""


@pytest.mark.parametrize("name", STAGES)
def test_the_browser_shows_the_batch(opened, material_of, name):
    """Token by token: its text, whether it is a target, and what is said of its prediction."""
    xray = take_xray(material_of(TALK, length=256), STAGES[name])
    page = opened(xray)
    assert page.evaluate("window.hacked") is None
    shown = {(token["row"], token["column"]): token for token in page.evaluate(SHOWN)}
    rows = [xray.row(row) for row in xray.rows]
    expected = {(row["row"], i): t for row in rows for i, t in enumerate(row["tokens"]) if t["segment"] >= 0}
    assert shown.keys() == expected.keys()
    for row in rows:
        read = "".join(token["shown"] for (number, _), token in sorted(shown.items()) if number == row["row"])
        whole = xray.material.tokenizer.decode([t["id"] for t in row["tokens"] if t["segment"] >= 0])
        if "\ufffd" not in whole:  # a document cut within a character
            assert read.replace("‥", "").replace("⏎\n", "\n") == whole
    for (row, column), token in expected.items():
        seen = shown[row, column]
        before = rows[row]["tokens"][column - 1] if column else {"supervised": False}
        assert (seen["id"], seen["text"]) == (token["id"], token["text"])
        assert seen["on"] == before["supervised"]
        assert seen["facts"]["supervised"].startswith("yes" if token["supervised"] else "no")
        assert (seen["facts"]["position"], seen["facts"]["segment"]) == (token["position"], token["segment"])
        if token["target"] is not None:
            assert seen["facts"]["predicts"].endswith(f"(id {token['target']})")
        else:
            assert seen["facts"]["predicts"].startswith("nothing")


def test_in_chinese_every_word_is(opened, material_of):
    """For a browser that speaks it; what is not said in Chinese are the texts of the data, and their names."""
    xray = take_xray(material_of(TALK, length=256), STAGES["sft"])
    page = opened(xray, Finder(material_of(TALK, length=256), STAGES["mid"]), locale="zh-CN")
    assert page.get_attribute("html", "lang") == "zh-CN"
    page.keyboard.press("ArrowRight")
    said = page.eval_on_selector_all("[data-t], dt, h2, #phrase", "nodes => nodes.map(node => node.textContent)")
    named = page.eval_on_selector_all("[title], [aria-label]", "nodes => nodes.flatMap(n => [n.title, n.ariaLabel])")
    words = [text for text in (*said, *named) if text and re.search("[A-Za-z]{2}", text)]
    assert [text for text in words if not re.search("[\u4e00-\u9fff]", text)] == []
    assert all(value[0] >= "一" for value in page.evaluate("Object.values(ROLES).concat(Object.values(CUTS))"))


def test_a_walk_with_the_keyboard(opened, material_of):
    page = opened(take_xray(material_of(TALK, length=256), STAGES["sft"]))

    def at():
        return page.evaluate("[segments.findIndex(s => s.box.contains(here)), here.i, document.activeElement === here]")

    def press(*keys):
        for key in keys:
            page.keyboard.press(key)
        return at()

    assert press("ArrowRight") == [0, 0, True]
    assert press("ArrowRight", "ArrowRight") == [0, 2, True]
    assert press("n") == [1, 0, True]
    assert press("ArrowLeft")[0] == 0, "back over the edge of a segment"
    assert press("Home") == [0, 0, True]
    segment, token, _ = press("t")
    taught = page.evaluate("here.classList.contains('on') && !here.previousSibling.classList.contains('on')")
    assert (segment, taught) == (0, True)
    assert token > 0
    assert page.inner_text("#token dl").startswith("token")
    page.keyboard.press("Escape")
    assert page.evaluate("document.querySelectorAll('.t.here').length") == 0
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.keyboard.press("Escape")
    assert not page.is_visible("#keys")


def test_a_filter_by_task_and_by_row(opened, material_of, tmp_path):
    """Only segments of the task and the row stay, and the keys walk among them."""
    two = [{"task": "custom-json", "dataset": str(tmp_path / "talk.jsonl"), "name": name} for name in ("one", "two")]
    xray = take_xray(material_of(TALK, length=256, mid__train=two), STAGES["mid"])
    page = opened(xray)
    page.select_option("#task", "two")
    visible = page.evaluate("visible().map(s => [s.piece.task, s.piece.row])")
    expected = [(s.task, row) for row in xray.rows for s in xray.batch.sources[row] if s.task == "two"]
    assert [tuple(pair) for pair in visible] == expected
    assert page.inner_text("#count") == f"{len(expected)} of {sum(map(len, xray.batch.sources))} segments"
    page.click("#next")
    assert page.evaluate("here.piece.task") == "two"
    page.select_option("#row", str(expected[-1][1]))
    assert {row for _, row in page.evaluate("visible().map(s => [s.piece.task, s.piece.row])")} == {expected[-1][1]}


def test_two_stages_side_by_side(opened, material_of):
    material = material_of([WENG], length=256)
    page = opened(take_xray(material, STAGES["mid"]), Finder(material, STAGES["sft"]))
    left, right = page.query_selector_all(".pair > div")
    words = "node => node.querySelector('.tokens').textContent"
    assert left.evaluate(words) == right.evaluate(words)
    taught = "node => [...node.querySelectorAll('.t.on')].map(t => t.textContent).join('')"
    assert left.evaluate(taught).startswith("<|user_start|>Weng")
    assert right.evaluate(taught).startswith("Weng earns 12/60")
    assert left.bounding_box()["x"] < right.bounding_box()["x"]


def test_on_a_phone_nothing_sticks_out_and_a_touch_opens_the_panel(opened, material_of):
    material = material_of(TALK, length=256)
    page = opened(
        take_xray(material, STAGES["mid"]),
        Finder(material, STAGES["sft"]),
        viewport={"width": 390, "height": 800},
        has_touch=True,
        color_scheme="dark",
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert not page.is_visible("#token")
    page.tap(".tokens .t >> nth=3")
    assert page.is_visible("#token dl")
    page.click("#close")
    assert not page.is_visible("#token")


def test_printed_it_has_the_tokens_and_not_the_controls(opened, material_of):
    page = opened(take_xray(material_of([WENG]), STAGES["sft"]))
    page.emulate_media(media="print")
    assert not page.is_visible("#bar")
    assert not page.is_visible("#token")
    assert page.is_visible(".tokens .t.on")
