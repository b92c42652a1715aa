import re

import pytest

from parrotlet.chat import Conversation
from parrotlet.world.drills import write_drills
from parrotlet.world.relations import asked, questions


@pytest.fixture(scope="module")
def drills(world):
    return write_drills(world, 2_000)


def turns_of(talk):
    """The list, letter by item, and the questions with their answers; the first question is its message's last line."""
    contents = [message["content"] for message in talk.messages]
    letters = dict(re.findall(r"^- (.+)=([A-E])$", contents[0], re.MULTILINE))
    return letters, list(zip([contents[0].split("\n")[-1], *contents[2::2]], contents[1::2], strict=True))


def test_every_answer_names_the_letter_of_the_one_right_choice(world, drills) -> None:
    right: dict[str, set[str]] = {}
    for question in [*questions(world, "asks"), *questions(world, "asks_back")]:
        right.setdefault(question.text, set()).add(question.answer)
    about_facts = 0
    for talk in drills:
        letters, turns = turns_of(talk)
        assert sorted(letters.values()) == list("ABCDE"[: len(letters)])
        for question, answer in turns:
            about_facts += question in right
            chosen = [
                i for i in letters if (i in right[question] if question in right else named(i, question, letters))
            ]
            assert len(chosen) == 1, talk
            assert answer in (letters[chosen[0]], f"- {chosen[0]}={letters[chosen[0]]}"), talk
    assert about_facts > 4_000


def named(item: str, question: str, letters: dict[str, str]) -> bool:
    """Whether a question names a thing; of two that it could be, the longer one."""
    return item == max((other for other in letters if f" {other}" in question), key=len, default="")


def test_no_question_of_another_split_is_asked(world, drills) -> None:
    held_out = {question.text for part in ("validation", "test") for question in asked(world, part)}
    held_out |= {question.text for question in questions(world, "unseen")}
    assert not held_out & {question for talk in drills for question, _ in turns_of(talk)[1]}


def test_they_are_conversations_no_two_alike_and_fit_into_small_rows(drills) -> None:
    assert len({str(talk.messages) for talk in drills}) == len(drills)
    for talk in drills:
        Conversation.from_messages(talk.messages, "here").check_trainable("here")
        assert sum(len(message["content"].encode()) for message in talk.messages) < 700
