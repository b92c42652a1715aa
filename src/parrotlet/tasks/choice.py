"""Multiple choice: how a question is asked, and what is right."""

from __future__ import annotations

import string
from collections.abc import Sequence

from ..chat import Conversation, Message
from ..errors import UserError
from .judge import same_letter
from .rows import RowTask

QUESTION = "Multiple Choice question: "


class ChoiceTask(RowTask):
    """Questions that are answered with a letter."""

    kind = "choice"

    def judge(self, conversation: Conversation, answer: str) -> bool:
        """Whether the answer is the letter, and nothing else."""
        return same_letter(conversation.messages[-1].text, answer)

    def chance(self, index: int) -> float:
        """One over the number of choices."""
        letters = self[index].letters
        assert letters
        return 1 / len(letters)


def ask(question: str, choices: Sequence[str], right: int, subject: str | None, where: str) -> Conversation:
    """The question with a line `- choice=LETTER` for each choice; the answer is the letter of choice `right`.

    The letter stands after the choice: having just read the choice, a small model binds the two more easily.
    """
    if not 0 <= right < len(choices) <= len(string.ascii_uppercase):
        raise UserError(f"{where}: answer number {right} of {len(choices)} choices")
    letters = tuple(string.ascii_uppercase[: len(choices)])
    lines = "".join(f"- {choice}={letter}\n" for choice, letter in zip(choices, letters, strict=True))
    prompt = f"{QUESTION}{question}\n{lines}\nRespond only with the letter of the correct answer."
    messages = (Message("user", prompt), Message("assistant", letters[right]))
    return Conversation(messages, letters=letters, subject=subject)


def question_of(conversation: Conversation) -> str:
    """What `ask` was given to ask, without choices and way of asking."""
    return conversation.messages[0].text.removeprefix(QUESTION).split("\n- ")[0]
