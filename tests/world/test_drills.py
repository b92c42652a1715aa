import re
from collections import Counter

import pytest

from parrotlet.chat import Conversation
from parrotlet.world.drills import write_choosing, write_finding, write_questions
from parrotlet.world.relations import asked, questions


@pytest.fixture(scope="module", params=[write_finding, write_choosing])
def drills(world, request):
    return request.param(world, 4_000)


def parts_of(talk):
    """The question, the choices by letter, and the answer."""
    (question, *lines), answer = talk.messages[0]["content"].split("\n"), talk.messages[1]["content"]
    return question, {line[-1]: re.fullmatch(r"- (.+)=[A-E]", line)[1] for line in lines}, answer


@pytest.fixture(scope="module")
def right_answers(world):
    """Question → its right answers."""
    right: dict[str, set[str]] = {}
    for question in [*questions(world, "asks"), *questions(world, "asks_back")]:
        right.setdefault(question.text, set()).add(question.answer)
    return right


def test_every_answer_is_the_letter_of_the_one_right_choice(right_answers, drills) -> None:
    for talk in drills:
        question, choices, answer = parts_of(talk)
        assert list(choices) == list("ABCDE"[: len(choices)])
        for letter, choice in choices.items():
            asked_for = question in right_answers and choice in right_answers[question]
            named = question not in right_answers and re.search(rf" {choice}[.?]$", question)
            assert bool(asked_for or named) == (letter == answer), talk


def test_questions_are_answered_with_the_one_right_answer(right_answers, world) -> None:
    talks = write_questions(world)
    assert len({talk.messages[0]["content"] for talk in talks}) == len(talks) > 2_000
    for talk in talks:
        question, answer = (message["content"] for message in talk.messages)
        assert answer == answer[0].upper() + answer[1:]
        assert {right.lower() + "." for right in right_answers[question]} == {answer.lower()}


def test_finding_begins_with_lists_of_two(world) -> None:
    """A recipe takes the first third of them for its first phase."""
    sizes = [len(parts_of(talk)[1]) for talk in write_finding(world, 900)]
    assert (set(sizes[:300]), set(sizes[300:])) == ({2}, {3, 4, 5})


def test_letters_are_right_equally_often(drills) -> None:
    of_four = Counter(answer for _, choices, answer in map(parts_of, drills) if len(choices) == 4)
    expected = of_four.total() / 4
    assert sum((n - expected) ** 2 / expected for n in of_four.values()) < 16.3  # 0.1 % of fair draws are beyond


def test_no_question_of_another_split_is_asked(world, drills) -> None:
    held_out = {question.text for part in ("validation", "test") for question in asked(world, part)}
    held_out |= {question.text for question in questions(world, "unseen")}
    assert not held_out & {parts_of(talk)[0] for talk in drills}
    assert not held_out & {talk.messages[0]["content"] for talk in write_questions(world)}


def test_they_are_conversations_no_two_alike_and_short(drills) -> None:
    assert len({str(talk.messages) for talk in drills}) == len(drills)
    for talk in drills:
        Conversation.from_messages(talk.messages, "here").check_trainable("here")
        assert sum(len(message["content"].encode()) for message in talk.messages) < 250
