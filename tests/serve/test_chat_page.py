"""The page as a person uses it, in a real browser."""

import json
import time

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe

from parrotlet.engine import Engine


def ask(page, text="What is 3 and 3?", **settings):
    page.click("#settings-button")
    for name, value in {"max_tokens": 12, "seed": 5, **settings}.items():
        page.fill(f"#{name}", str(value))
    page.click("#settings-button")
    page.fill("#message", text)
    page.keyboard.press("Enter")
    done(page)


def done(page):
    page.wait_for_selector("#send", state="visible")


def answer(page, turn=0, stage="sft"):
    return page.inner_text(f"#answer-{turn}-{stage} .body")


def test_a_question_streams_an_answer_that_the_api_gives_too(opened, server):
    page = opened()
    ask(page, "What is 3 and 3?")
    asked = {"messages": [{"role": "user", "content": "What is 3 and 3?"}], "model": "sft", "max_tokens": 12, "seed": 5}
    told = httpx.post(f"{server}/v1/chat/completions", json=asked, timeout=60).json()
    assert page.text_content("#answer-0-sft .body") == told["choices"][0]["message"]["content"] != ""
    assert "cut: the limit" in page.inner_text("#answer-0-sft .tools")


def longer_than(page, length):
    """The answer, once it has so many characters."""
    while len(text := page.text_content("#answer-0-sft .body")) <= length:
        page.wait_for_timeout(20)
    return text


def test_an_answer_is_watched_and_stopped(opened, monkeypatch):
    step = Engine.step

    def slowly(self):
        time.sleep(0.05)
        return step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "step", slowly)
        page = opened()
        page.click("#settings-button")
        page.fill("#max_tokens", "150")
        page.fill("#temperature", "0")
        page.fill("#message", "What is 3 and 3?")
        page.press("#message", "Enter")
        first = longer_than(page, 10)
        assert page.is_visible("#answer-0-sft.writing")
        longer_than(page, len(first))
        page.keyboard.press("Escape")
        done(page)
    assert page.text_content("#answer-0-sft .body").startswith(first)
    assert "stopped" in page.inner_text("#answer-0-sft .tools")


def test_editing_asks_anew_and_forgets_what_came_after(opened):
    page = opened()
    ask(page, "one")
    ask(page, "two")
    assert page.locator(".turn").count() == 2
    page.click(".turn >> nth=0 >> text=Edit")
    page.fill(".user textarea", "three")
    page.keyboard.press("Enter")
    done(page)
    assert [turn.inner_text() for turn in page.locator(".user .said").all()] == ["three"]
    page.fill("#message", "")
    page.press("#message", "ArrowUp")
    assert page.input_value(".user textarea") == "three"
    page.keyboard.press("Escape")
    assert page.inner_text(".user .said") == "three"


def test_again_with_another_seed_gives_another_answer(opened):
    page = opened()
    ask(page, temperature=2)
    before = answer(page)
    page.click("#settings-button")
    page.fill("#seed", "6")
    page.click("#answer-0-sft >> text=Again")
    done(page)
    assert answer(page) != before
    assert page.locator(".turn").count() == 1


def test_stages_stand_side_by_side_and_on_a_phone_one_below_the_other(opened):
    page = opened()
    page.check("#stages input[value=base]")
    ask(page)
    base, sft = (page.locator(f"#answer-0-{stage}").bounding_box() for stage in ("base", "sft"))
    assert (base["y"], base["x"] + base["width"] < sft["x"]) == (sft["y"], True)
    page.set_viewport_size({"width": 390, "height": 800})
    base, sft = (page.locator(f"#answer-0-{stage}").bounding_box() for stage in ("base", "sft"))
    assert (base["x"], base["y"] + base["height"] < sft["y"]) == (sft["x"], True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_token_view(opened, run):
    """Every token of the answer; the arrow keys walk; of each its id, its probability and what else was likely."""
    page = opened()
    ask(page, temperature=0)
    page.click("#answer-0-sft >> text=Tokens")
    tokens = page.locator("#answer-0-sft .token")
    assert tokens.count() == 12
    tokens.nth(0).click()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
    text = tokens.nth(1).text_content().replace("↵\n", "\n")
    assert page.text_content(".fact p code") == f'"{text}"'
    assert page.locator(".fact tbody tr").count() == 5
    said = page.inner_text(".fact p")
    assert f"id {run.tokenizer().encode(text)[0]}" in said
    assert "sampled by the model" in said
    page.click("#answer-0-sft .tools >> text=Text")
    assert page.is_visible("#answer-0-sft .said")


def test_a_call_stands_with_its_result_and_goes_back_with_the_next_question(visit, calculating):
    http, prompts = calculating
    page = visit(str(http.base_url))
    page.wait_for_selector("#stages input")
    ask(page, "Four pay 10. Each?", max_tokens=40)
    assert page.text_content("#answer-0-sft .call .expression") == "10/4"
    assert page.text_content("#answer-0-sft .call .result") == "2.5"
    assert page.text_content("#answer-0-sft .body") == "It is 10/42.5 元。"
    ask(page, "And five?", max_tokens=40)
    assert [(part.type, part.text) for part in prompts[-1].messages[1].content][1:3] == [
        ("python", "10/4"),
        ("python_output", "2.5"),
    ]


def test_a_character_of_several_tokens_is_seen_whole(visit, calculating):
    """And what the engine wrote is told apart."""
    page = visit(str(calculating[0].base_url), locale="zh-CN")
    page.wait_for_selector("#stages input")
    ask(page, "四个人付 10 元。每人多少？", max_tokens=40)
    page.click("#answer-0-sft .tools >> text=词元")
    tokens = page.locator("#answer-0-sft .token")
    shown = tokens.all_text_contents()
    first = shown.index("元")
    assert shown[first : first + 6] == ["元", "‥", "‥", "。", "‥", "‥"]
    assert (
        "".join(page.locator("#answer-0-sft .token.injected").all_text_contents())
        == "<|output_start|>2.5<|output_end|>"
    )
    tokens.nth(first + 2).click()
    assert "字节 83" in page.inner_text(".fact p")
    assert page.text_content(".fact tbody td") == '"‥元"', "the likeliest is the token that was drawn"


def long_answers(page, characters=6000):
    """Every stage answers with a long text from now on."""
    piece = {
        "choices": [{"delta": {"content": "word " * (characters // 5)}, "finish_reason": "length", "logprobs": None}]
    }
    body = f"data: {json.dumps(piece)}\n\ndata: [DONE]\n\n"
    page.route("**/v1/chat/completions", lambda route: route.fulfill(content_type="text/event-stream", body=body))


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 800}, {"width": 390, "height": 844}])
def test_a_long_answer_hides_no_other_stage(opened, viewport):
    """Each scrolls by itself, also by keyboard."""
    page = opened(viewport=viewport)
    long_answers(page)
    page.check("#stages input[value=base]")
    ask(page)
    log = page.locator("#talk").bounding_box()
    for stage in ("base", "sft"):
        card = page.locator(f"#answer-0-{stage}").bounding_box()
        assert log["y"] <= card["y"] + 1, "in sight"
        assert card["y"] + card["height"] <= log["y"] + log["height"] + 1, "in sight"
    page.locator("#answer-0-base .body").evaluate("(node) => { node.scrollTop = 0; node.focus(); }")
    page.keyboard.press("End")
    page.wait_for_timeout(500)  # it glides
    assert page.locator("#answer-0-base .body").evaluate("(node) => node.scrollTop") > 100


def test_the_language_and_the_colours_stay(opened):
    page = opened()
    page.select_option("#language", "zh")
    page.select_option("#theme", "dark")
    assert (page.inner_text("#send"), page.inner_text("#tab-ledger")) == ("发送", "账本")
    page.reload()
    page.wait_for_selector("#stages input")
    assert page.inner_text("#send") == "发送"
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 26)"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, theme):
    page = opened(color_scheme=theme)
    page.check("#stages input[value=base]")
    ask(page)
    page.click("#settings-button")
    page.click("#answer-0-sft >> text=Tokens")
    page.locator("#answer-0-sft .token").first.click()
    found = serious(page)
    for tab in ("curves", "results", "ledger", "xrays"):
        page.click(f"#tab-{tab}")
        page.wait_for_selector(f"#{tab} > *")
        found += serious(page)
    assert found == []


def serious(page):
    found = Axe().run(page).response["violations"]
    return [(rule["id"], rule["nodes"][0]["html"]) for rule in found if rule["impact"] in ("serious", "critical")]


EVENTS = """async ([bytes, sizes]) => {
  const { events } = await import("/sse.js");
  let at = 0, i = 0;
  const stream = new ReadableStream({ pull(controller) {
    if (at >= bytes.length) return controller.close();
    const size = sizes[i++ % sizes.length];
    controller.enqueue(new Uint8Array(bytes.slice(at, at + size)));
    at += size;
  } });
  const read = [];
  for await (const event of events(stream)) read.push(event);
  return read;
}"""


@pytest.mark.parametrize("sizes", [[1], [2], [3, 1], [5, 7, 2], [1000]])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_events_survive_however_the_network_cuts_them(opened, sizes, newline):
    wanted = ['{"text":"小鹦鹉 🦜"}', "two\nlines", "[DONE]"]
    lines = [": a comment", ""]
    for event in wanted:
        lines += [*(f"data: {line}" for line in event.split("\n")), ""]
    sent = (newline.join(lines) + newline).encode()
    assert opened().evaluate(EVENTS, [list(sent), sizes]) == wanted
