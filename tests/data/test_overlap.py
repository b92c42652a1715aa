"""Evaluation questions that stand in training texts."""

import random

import pytest

from parrotlet.chat import Conversation, Message
from parrotlet.data import Documents, TextSource
from parrotlet.data.overlap import Questions, conversations_of, documents_of, words
from parrotlet.hub import Hub
from parrotlet.tasks import Task, TaskSpec, build_task

VOCABULARY = [f"word{i}" for i in range(400)]


class Asks(Task):
    """Questions of random words, with the same way of asking around them."""

    name, dataset, split = "asks", "made here", "test"

    def __init__(self, count=50, length=20, seed=0):
        rng = random.Random(seed)
        self.questions = [" ".join(rng.choices(VOCABULARY, k=length)) for _ in range(count)]

    @property
    def fingerprint(self):
        return repr(self.questions)

    def __len__(self):
        return len(self.questions)

    def __getitem__(self, index):
        text = f"Read this question with care and then give the one right answer: {self.questions[index]}?"
        return Conversation((Message("user", text), Message("assistant", "yes")))

    def where(self, index):
        return f"asks {index}"


def texts(*documents):
    return [(lambda i=i: f"document {i}", text) for i, text in enumerate(documents)]


def test_what_is_planted_is_found_and_nothing_else():
    task = Asks()
    clean = [" ".join(random.Random(1000 + i).choices(VOCABULARY, k=300)) for i in range(40)]
    (pair,) = Questions([task]).overlaps("clean", texts(*clean))
    assert (pair.items, pair.too_short, pair.found) == (50, 0, {})
    leaked = [*clean[:20], f"{clean[20]} {task.questions[7].upper().replace(' ', ',  ')} {clean[21]}", *clean[22:]]
    (pair,) = Questions([task]).overlaps("leaked", texts(*leaked))
    assert list(pair.found) == [7]
    passage = pair.found[7]
    assert (passage.item, passage.document) == ("asks 7", "document 20")
    assert words(passage.text) == words(task.questions[7])


def test_the_way_of_asking_is_no_leak():
    way = "Read this question with care and then give the one right answer:"
    (pair,) = Questions([Asks()]).overlaps("way", texts(way * 30))
    assert not pair.found


def test_a_phrase_is_no_leak_and_a_long_stretch_is():
    task = Asks(length=40)
    phrase, stretch, whole = (" ".join(task.questions[3].split()[:n]) for n in (15, 25, 40))
    assert not Questions([task]).overlaps("s", texts(phrase))[0].found
    assert Questions([task]).overlaps("s", texts(phrase, stretch))[0].found[3].document == "document 1"
    assert Questions([task]).overlaps("s", texts(stretch, whole))[0].found[3].document == "document 1"


def test_short_questions_are_counted():
    class Short(Asks):
        def __getitem__(self, index):
            return Conversation((Message("user", "who?"), Message("assistant", "I")))

    (pair,) = Questions([Short(5)]).overlaps("s", texts("who? who? who?"))
    assert (pair.items, pair.too_short) == (5, 5)


def test_chinese_counts_characters():
    assert words("Go 学会说话, 再说好话！x_1") == ["go", *"学会说话再说好话", "x", "1"]


@pytest.mark.real_data
def test_thirty_leaked_questions_of_gsm8k_are_found_and_none_in_the_clean_texts(real_data, tmp_path):
    hub = Hub(folder=real_data / "hub")
    gsm8k = build_task(TaskSpec(task="gsm8k", split="test"), hub)
    questions = Questions([gsm8k])
    shard = hub.dataset_file("karpathy/fineweb-edu-100b-shuffle", "shard_00004.parquet")
    source = TextSource(documents=Documents("text-en", [shard]))
    clean = list(documents_of(source))
    assert not questions.overlaps("text-en", clean)[0].found
    assert not questions.overlaps("train", conversations_of(build_task(TaskSpec(task="gsm8k"), hub)))[0].found
    rng = random.Random(0)
    planted = sorted(rng.sample(range(len(gsm8k)), 30))
    dirty = list(clean)
    for item in planted:
        place, (where, text) = (at := rng.randrange(len(dirty))), dirty[at]
        middle = len(text) // 2
        dirty[place] = (where, f"{text[:middle]}\n{gsm8k[item].messages[0].text}\n{text[middle:]}")
    assert sorted(questions.overlaps("text-en", dirty)[0].found) == planted
