import json
import re
from collections import Counter

import pytest

from parrotlet.chat import Conversation
from parrotlet.world import library
from parrotlet.world.building import build_world
from parrotlet.world.identity import PLAIN, PLAIN_SHARE, write_identity
from parrotlet.world.relations import questions
from parrotlet.world.talk import write_talk

HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def talks(world):
    return write_talk(world, 2_000, "train")


@pytest.fixture(scope="module")
def identity(world):
    return write_identity(world, 3_200, "train")


def test_messages_are_conversations(world, talks, identity) -> None:
    for talk in [*talks, *identity]:
        Conversation.from_messages(talk.messages, "here").check_trainable("here")
        for message in talk.messages:
            assert message["content"] == message["content"].strip() != ""
            assert not re.search(r"[{}\[\]|]|  | [,.!?]", message["content"]), talk


def test_some_is_chinese_some_has_a_system_prompt_most_has_several_turns(talks) -> None:
    chinese = sum(bool(HAN.search(talk.messages[0]["content"])) for talk in talks)
    system = sum(talk.messages[0]["role"] == "system" for talk in talks)
    several = sum(len(talk.messages) > 2 for talk in talks)
    assert 0.1 < chinese / len(talks) < 0.17
    assert 0.05 < system / len(talks) < 0.2
    assert several / len(talks) > 0.7


def test_every_talk_that_is_written_out_is_used(talks) -> None:
    topics = {f"world/{section.title[0]}" for section in library.read("talk")}
    assert topics <= {talk.source for talk in talks}


def test_no_part_repeats_another(world, talks) -> None:
    test_set = write_talk(world, 300, "test")
    texts = {json.dumps(talk.messages) for talk in talks}
    assert len(texts) == len(talks)
    assert not texts & {json.dumps(talk.messages) for talk in test_set}


def test_talk_never_asks_what_is_asked_in_test(world, talks) -> None:
    asked = "\n".join(m["content"] for talk in talks for m in talk.messages if m["role"] == "user")
    for form in ("asks", "asks_back"):
        for part in ("validation", "test"):
            for question in questions(world, form, part):
                assert question.text not in asked, question
    assert not any(question.text in asked for question in questions(world, "unseen"))


def test_every_answer_about_identity_contains_what_is_expected(world) -> None:
    for section in library.read("identity"):
        for answer in (line[2:] for line in section.lines if line.startswith("= ")):
            assert all(text in answer for text in section.title[2].split(" & ")), answer
    for part in ("train", "validation", "test"):
        for talk in write_identity(world, 200, part):
            assert all(text in talk.messages[-1]["content"] for text in talk.expects)


def every_choice(template: str) -> list[str]:
    """Every text that a template can become."""
    before, opening, rest = template.partition("[")
    inner, _, after = rest.partition("]")
    return [before + each + tail for each in inner.split("|") for tail in every_choice(after)] if opening else [before]


def test_identity_is_asked_in_other_words_in_test(world, identity) -> None:
    def last_questions(talks) -> set[str]:
        return {talk.messages[-2]["content"] for talk in talks}

    trained = {m["content"] for talk in identity for m in talk.messages if m["role"] == "user"}
    for part in ("validation", "test"):
        assert not trained & last_questions(write_identity(world, 300, part))
    lines = [line for section in library.read("identity") for line in section.lines if line[:1] in tuple("?~^")]
    forms = [form.rstrip(" .?。？").casefold() for line in lines for form in every_choice(line[2:])]
    assert not [form for form, n in Counter(forms).items() if n > 1], "no wording stands twice"


def test_the_plainest_questions_of_identity_are_asked_most_in_training(identity) -> None:
    sections = library.read("identity")
    plain = {q for s in sections for q in [line[2:] for line in s.lines if line.startswith("? ")][:PLAIN]}
    asked = [talk.messages[-2]["content"] for talk in identity]
    assert sum(any(text.endswith(q) for q in plain) for text in asked) > 0.8 * PLAIN_SHARE * len(
        asked
    )  # no two are alike


def test_identity_speaks_two_languages_and_has_enough_for_every_split() -> None:
    for seed in range(3):
        for part, number in (("train", 3_200), ("validation", 100), ("test", 300)):
            talks = write_identity(build_world(seed), number, part)
            assert len({json.dumps(talk.messages) for talk in talks}) == number
            chinese = sum(bool(HAN.search(talk.messages[-1]["content"])) for talk in talks)
            assert 0.2 < chinese / number < 0.6
