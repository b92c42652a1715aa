"""Letter counting: how many r are in strawberry?

The answer spells the word, counts along by hand, and then checks itself with the tool.
"""

from __future__ import annotations

import string

from ..chat import Conversation, Message, Part
from .judge import same_final_value
from .spelling import CHINESE_ONE_IN, QUOTES, WordTask, spell, typed
from .words import Draw

OTHER_LETTER_ONE_IN = 10
"""One in so many questions asks for any letter of the alphabet: mostly one that is not in the word."""

ENGLISH = (
    "How many {letter} are in {word}?",
    "How many {letter} are there in {word}?",
    "How many {letter} are in the word {word}?",
    "How many {letter}s are in {word}?",
    "How many {letter}s are there in the word {word}?",
    "How many {letter}'s does {word} have?",
    "How many letters {letter} does {word} contain?",
    "How many times does {letter} appear in {word}?",
    "How many times does the letter {letter} occur in the word {word}?",
    "How often does {letter} occur in {word}?",
    "How often is the letter {letter} used in {word}?",
    "Count the {letter} in {word}",
    "Count the letter {letter} in {word}.",
    "Count how many {letter} there are in {word}.",
    "Count the occurrences of {letter} in the word {word}.",
    "Please count the {letter}s in {word}",
    "Can you count the letter {letter} in {word}?",
    "Can you tell me how many {letter} are in {word}?",
    "Could you count how often {letter} appears in {word}?",
    "Do you know how many {letter} there are in {word}?",
    "I want to know how many {letter} are in {word}",
    "In {word}, how many {letter} are there?",
    "In the word {word}, how often does the letter {letter} show up?",
    "Number of {letter} in {word}?",
    "Number of times {letter} appears in {word}",
    "Tell me the number of {letter} in {word}.",
    "What is the number of {letter} in the word {word}?",
    "What is the count of the letter {letter} in {word}?",
    "{word} has how many {letter}?",
    "{word}: how many {letter}?",
)
CHINESE = (
    "{word} 里有几个 {letter}？",
    "{word} 里面有多少个 {letter}",
    "单词 {word} 中有几个字母 {letter}？",
    "字母 {letter} 在 {word} 中出现了几次？",
    "请数一数 {word} 里有几个 {letter}。",
    "数一下 {word} 里的 {letter}",
    "{word} 这个单词有几个 {letter}？",
    "{letter} 在单词 {word} 里出现多少次？",
)


class LetterCounting(WordTask):
    """Count a letter in a word."""

    name = "letter-counting"

    def make(self, word: str, draw: Draw) -> Conversation:
        """One of many wordings; the answer is in the language of the question."""
        english = draw.below(CHINESE_ONE_IN) > 0
        letter = draw.one_of(word if draw.below(OTHER_LETTER_ONE_IN) else string.ascii_lowercase)
        quotes = draw.one_of(QUOTES), draw.one_of(QUOTES)
        question = draw.one_of(ENGLISH if english else CHINESE).format(
            letter=f"{quotes[0]}{letter}{quotes[0]}", word=f"{quotes[1]}{word}{quotes[1]}"
        )
        answer = _answer(word, letter, english)
        return Conversation((Message("user", typed(question, draw)), Message("assistant", answer)))

    def judge(self, conversation: Conversation, answer: str) -> bool:
        """Whether the value after `####` is the reference's."""
        return same_final_value(conversation.messages[-1].text, answer)


def _answer(word: str, letter: str, english: bool) -> tuple[Part, ...]:
    count = str(word.count(letter))
    by_hand = f"{spell(word)}\n\n{_count_along(word, letter)}\n\n"
    before = f"That makes {count}. Python: " if english else f"一共 {count} 个。用 Python 检查："
    after = f"\n\nPython says {count}.\n\n#### {count}" if english else f"\n\nPython 的结果是 {count}。\n\n#### {count}"
    return (
        Part("text", by_hand + before),
        Part("python", f"'{word}'.count('{letter}')"),
        Part("python_output", count),
        Part("text", after),
    )


def _count_along(word: str, letter: str) -> str:
    """A line for each letter of the word, with the count so far."""
    return "\n".join(f"{at}: {word[: i + 1].count(letter)}" for i, at in enumerate(word))
