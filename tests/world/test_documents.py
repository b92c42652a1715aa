import re
from collections import Counter

import pytest

from parrotlet.world import library, sheets
from parrotlet.world.cast import Cast
from parrotlet.world.documents import write_documents
from parrotlet.world.phrases import prose
from parrotlet.world.relations import questions
from parrotlet.world.splits import stream
from parrotlet.world.words import word_list

HAN = re.compile(r"[\u4e00-\u9fff]")


def test_every_fact_is_stated_often_and_in_many_wordings(world, documents, statements) -> None:
    text = "\n".join(document.text for document in documents)
    for fact in world.facts:
        found = [text.count(statement) for statement in statements(fact)]
        assert sum(found) >= 10, (fact, found)
        assert sum(map(bool, found)) >= 3, (fact, found)


def test_no_two_are_alike_and_none_is_for_both(world, documents) -> None:
    known = {document.text for document in documents}
    assert len(known) == len(documents)
    held_out = write_documents(world, 1_000, word_list(0)[1], part="validation", without=known)
    assert not known & {document.text for document in held_out}
    assert {d.source for d in held_out} == {d.source for d in documents}


def test_about_a_tenth_is_chinese(documents) -> None:
    sizes = Counter()
    for document in documents:
        sizes[bool(HAN.search(document.text))] += len(document.text.encode())
    assert 0.07 < sizes[True] / sizes.total() < 0.15


def test_the_size_is_what_the_writer_says(documents) -> None:
    assert 200 < sum(len(d.text.encode()) for d in documents) / len(documents) < 300


def test_nothing_is_left_of_the_templates(documents) -> None:
    for document in documents:
        assert not re.search(r"[{}\[\]|]|  |\bNone\b| [,.!?;]|[?!][,.]\"|\.\.", document.text), document
        assert document.text == document.text.strip()
        assert document.title


def test_articles_are_right(documents) -> None:
    for document in documents:
        if document.source.split("/")[1] not in ("letters", "quiz", "spelling", "echoes"):  # a is a letter there
            wrong = re.search(r"\b[Aa] [aeio]|\b[Aa]n [^aeiouh]", document.text)
            assert not wrong or document.title == "How a letter becomes a word", document


def test_sums_are_right(documents) -> None:
    checked = 0
    for document in documents:
        for a, sign, b, result in re.findall(r"\b(\d+) ([-+x/]) (\d+) = (\d+)", document.text):
            checked += 1
            a, b, result = int(a), int(b), int(result)
            assert {"+": a + b, "-": a - b, "x": a * b, "/": a / b if b else None}[sign] == result
    assert checked > 500


def test_prices_are_the_same_everywhere(world, documents) -> None:
    prices = {good.en: good.price for good in world.goods}
    told = Counter()
    for document in documents:
        for good, price in re.findall(r"\b(\w+) costs (?:only )?(\d+) dollars", document.text):
            if good in prices:
                told[good] += 1
                assert int(price) == prices[good], document.text
    assert set(told) == set(prices)


def test_words_are_spelled_right(documents) -> None:
    spelled = [
        match
        for document in documents
        if document.source == "world/spelling"
        for match in re.findall(r"The word (\w+) is spelled ((?:\w, )*\w)\.", document.text)
    ]
    assert len(spelled) > 300
    assert all(word == letters.replace(", ", "") for word, letters in spelled)


def test_documents_never_ask_what_is_asked_in_validation_and_test(world, documents) -> None:
    text = "\n".join(document.text for document in documents)
    for form in ("asks", "asks_back"):
        for part in ("validation", "test"):
            for question in questions(world, form, part):
                assert question.text not in text, question
    for question in questions(world, "unseen"):
        assert question.text not in text, question


@pytest.mark.parametrize("name", ["stories", "scenes", "how", "chinese"])
def test_every_text_can_be_told_with_any_cast(world, name: str) -> None:
    for number, section in enumerate(library.read(name)):
        for draw in range(30):
            cast = Cast(world, stream(draw, name, number))
            text = prose(section.body, cast.rng, cast)
            assert len(text) > 20, section.title
            assert not re.search(r"[{}\[\]|]", text + prose(section.title[-1], cast.rng, cast)), text


def test_bound_lists_name_the_right_letters(world) -> None:
    rng = stream(0, "bound")
    for _ in range(50):
        _, text = sheets.bound_list(world, rng)
        listed = dict(re.findall(r"- (.+)=([A-E])", text))
        below = text.split("\n\n")[1].splitlines()
        assert len(below) == 2 * len(listed)
        for line in below:
            item = max((item for item in listed if f" {item} " in line), key=len)
            assert re.findall(r"\b[A-E]\b", line) == [listed[item]]


def test_the_parrot_says_the_same_again(world) -> None:
    rng = stream(0, "echo")
    for _ in range(200):
        _, text = sheets.echo(world, rng, word_list(0)[1])
        length = next(k for k in range(len(text) // 2, 0, -1) if is_said_twice(text, k))
        assert length >= 7, text
        assert 2 * length > len(text) - 70, text


def is_said_twice(text: str, length: int) -> bool:
    return any(text[i : i + length] in text[i + length :] for i in range(len(text) - 2 * length + 1))
