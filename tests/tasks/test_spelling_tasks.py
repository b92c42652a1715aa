"""Spelling and letter counting: made from words."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parrotlet.errors import UserError
from parrotlet.hub import Hub
from parrotlet.tasks import Split, Task, TaskSpec, build_task
from parrotlet.tasks.base import ITEMS_VERSION
from parrotlet.tasks.judge import extract_final_value, spelled_letters
from parrotlet.tasks.words import Draw, words_of_split
from parrotlet.tools import calculate

WORDS = [a + b + c for a in ("stra", "blue", "goose", "rasp") for b in ("w", "ber", "ing") for c in "abcdefghij"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
TASKS = ("spelling", "letter-counting")


def build(name: str, split: Split = "train", size: int | None = None) -> Task:
    return build_task(TaskSpec(task=name, split=split, size=size), Hub(), WORDS)


@given(st.lists(st.text("abcdefgé", min_size=1), min_size=1))
def test_splits_share_no_word(words: list[str]) -> None:
    found: list[str] = []
    for split in SPLITS:
        try:
            found += words_of_split(words, split)
        except UserError as error:
            assert f"none of them for {split}" in str(error)  # noqa: PT017
    assert sorted(found) == sorted(set(words))


def test_the_split_of_a_word_depends_on_nothing_else() -> None:
    first = {split: set(words_of_split(WORDS, split)) for split in SPLITS}
    other = {split: set(words_of_split([w.upper() for w in WORDS[::-2]], split)) for split in SPLITS}
    assert all(other[split] <= first[split] for split in SPLITS)
    assert words_of_split(WORDS, "train") == words_of_split(WORDS[::-1] + WORDS, "train")


def test_words_are_letters_only() -> None:
    with pytest.raises(UserError, match=r"word 2 of the list is \"don't\""):
        words_of_split(["do", "don't"], "train")


def test_no_words() -> None:
    with pytest.raises(UserError, match="made from a list of words, and none is given"):
        build_task(TaskSpec(task="spelling"), Hub())
    with pytest.raises(UserError, match="the list has 0 words"):
        build_task(TaskSpec(task="spelling"), Hub(), [])


@pytest.mark.parametrize("name", TASKS)
def test_size_and_coverage(name: str) -> None:
    words = len(words_of_split(WORDS, "train"))
    assert len(build(name)) == words
    task = build(name, size=3 * words)
    assert len(task) == 3 * words
    texts = [c.messages[0].text for c in task]
    assert len(set(texts)) > 2 * words  # a word that comes again is asked in another way
    assert [c.messages for c in build(name, size=10)] == [c.messages for c in task][:10]
    with pytest.raises(IndexError):
        task[len(task)]


@pytest.mark.parametrize("name", TASKS)
def test_items_are_the_same_in_every_process(name: str) -> None:
    program = (
        "from parrotlet.tasks import *; from parrotlet.hub import Hub; "
        f"t = build_task(TaskSpec(task={name!r}, size=50), Hub(), {WORDS!r}); "
        "print(t.fingerprint, [c.messages for c in t])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    task = build(name, size=50)
    assert runs[0] == runs[1] == f"{task.fingerprint} {[c.messages for c in task]}\n"


def test_spelling_answers() -> None:
    task = build("spelling", size=300)
    for index, conversation in enumerate(task):
        question, answer = (message.text for message in conversation.messages)
        word = answer.partition(":")[0]
        assert answer == f"{word}: {' '.join(word)}"
        assert word in question.lower()
        assert word in task.where(index)
        assert spelled_letters(answer) == list(word)
        assert task.judge(conversation, "-".join(word))
        assert not task.judge(conversation, "-".join(word[:-1]))


def test_a_letter_counting_conversation() -> None:
    question, answer = build_task(TaskSpec(task="letter-counting"), Hub(), ["letter"])[0].messages
    assert question.text == "How many times does the letter e occur in the word letter?"
    assert [part.text for part in answer.parts] == [
        "letter: l e t t e r\n\nl: 0\ne: 1\nt: 1\nt: 1\ne: 2\nr: 2\n\nThat makes 2. Python: ",
        "'letter'.count('e')",
        "2",
        "\n\nPython says 2.\n\n#### 2",
    ]


def test_letter_counting_answers() -> None:
    task = build("letter-counting", size=300)
    counts = set()
    for conversation in task:
        question, answer = conversation.messages
        first, call, output, last = answer.parts
        word, letter = re.fullmatch(r"'(\w+)'\.count\('(\w)'\)", call.text).groups()  # pyright: ignore[reportOptionalMemberAccess]
        assert (call.type, output.type, output.text) == ("python", "python_output", str(word.count(letter)))
        assert word in question.text.lower()
        assert re.search(rf"(?<![a-z]){letter}('?s)?(?![a-z])", question.text.replace(word, ""))
        assert calculate(call.text) == output.text
        assert first.text.startswith(f"{word}: {' '.join(word)}\n")
        steps = re.findall(r"^(\w): (\d+)$", first.text, re.MULTILINE)
        assert steps == [(word[i], str(word[: i + 1].count(letter))) for i in range(len(word))]
        assert extract_final_value(last.text) == output.text
        assert task.judge(conversation, answer.text)
        assert not task.judge(conversation, f"#### {int(output.text) + 1}")
        counts.add(int(output.text))
    assert {0, 1, 2} <= counts


@pytest.mark.parametrize("name", TASKS)
def test_one_question_in_six_is_in_chinese(name: str) -> None:
    conversations = list(build(name, size=2000))
    chinese = [c for c in conversations if re.search("[\u4e00-\u9fff]", c.messages[0].text)]
    assert 0.13 < len(chinese) / len(conversations) < 0.21
    if name == "letter-counting":  # spelling answers are the same in all languages
        in_chinese = [c for c in conversations if re.search("[\u4e00-\u9fff]", c.messages[1].text)]
        assert in_chinese == chinese


def test_splits_and_sizes_have_fingerprints_of_their_own() -> None:
    specs = [("spelling", "train", 10), ("spelling", "train", 11), ("spelling", "test", 10)]
    specs += [("letter-counting", "train", 10)]
    assert len({build(*spec).fingerprint for spec in specs}) == len(specs)  # pyright: ignore[reportArgumentType]


@given(st.integers(min_value=1, max_value=10**9), st.text())
def test_draws_are_in_range(n: int, key: str) -> None:
    draw = Draw(key)
    assert all(0 <= draw.below(n) < n for _ in range(16))


def test_draws_are_even() -> None:
    counts = [0] * 6
    for index in range(6000):
        counts[Draw("key", index).below(6)] += 1
    assert all(900 < count < 1100 for count in counts)


@pytest.mark.real_data
def test_real_words(real_data: Path) -> None:
    words = (real_data / "files" / "words_alpha.txt").read_text().split()
    splits = [words_of_split(words, split) for split in SPLITS]
    assert sum(map(len, splits)) == len(words) == 370_105
    assert not set(splits[0]) & set(splits[1])
    assert not (set(splits[0]) | set(splits[1])) & set(splits[2])
    assert all(0.045 < len(part) / len(words) < 0.055 for part in splits[1:])


def test_other_items_are_another_version() -> None:
    """What is kept of a task (lengths of its conversations, batches of a run) is found by its fingerprint."""
    said = "".join(str(conversation.messages) for name in TASKS for conversation in build(name, size=200))
    items = hashlib.sha256(said.encode()).hexdigest()[:8]
    assert (ITEMS_VERSION, items) == (3, "3ee86373"), "raise ITEMS_VERSION in parrotlet/tasks/base.py"
