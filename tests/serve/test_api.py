"""The API, by OpenAI's own client."""

import openai
import pytest

from parrotlet.serve.forms import CompletionForm

ASK = [{"role": "user", "content": "What is 3 and 3?"}]


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client, **fields):
    return client.chat.completions.create(**{"model": "sft", "messages": ASK, "max_tokens": 24, "seed": 7} | fields)


def test_the_latest_stage_is_listed_first(client):
    assert [model.id for model in client.models.list()] == ["sft", "base"]
    assert client.models.retrieve("base").id == "base"


def test_a_stream_says_what_a_whole_answer_says(client):
    whole = ask(client)
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    told = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in told) == whole.choices[0].message.content != ""
    assert [c.finish_reason for c in told if c.finish_reason] == [whole.choices[0].finish_reason]
    assert len(told) > 5, "in pieces"
    used = [chunk.usage for chunk in chunks if chunk.usage]
    assert [u.completion_tokens for u in used] == [whole.usage.completion_tokens]
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


def test_a_seed_repeats_itself_and_choices_have_the_seeds_that_follow(client):
    texts = [choice.message.content for choice in ask(client, n=3, temperature=1.5).choices]
    alone = [ask(client, seed=7 + i, temperature=1.5).choices[0].message.content for i in range(3)]
    assert texts == alone
    assert len(set(texts)) == 3
    streamed = ["", "", ""]
    for chunk in ask(client, n=3, temperature=1.5, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts


def test_a_stop_string_ends_the_answer_before_it(client):
    whole = ask(client, max_tokens=40).choices[0].message.content
    stop = whole[len(whole) // 2 :][:3]
    cut = ask(client, max_tokens=40, stop=[stop]).choices[0]
    assert (cut.message.content, cut.finish_reason) == (whole[: whole.index(stop)], "stop")


def test_each_stage_answers_with_its_own_weights(client):
    def first(stage):
        return ask(client, model=stage, temperature=0, logprobs=True).choices[0].logprobs.content[0].logprob

    assert first("sft") == first("sft") != first("base")


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_of_every_token(client, stream):
    """Alternatives come best first; at temperature 0 the likeliest that may be sampled is what was written."""
    answer = ask(client, temperature=0, logprobs=True, top_logprobs=20, stream=stream)
    choice = next(c for chunk in answer for c in chunk.choices if c.logprobs) if stream else answer.choices[0]
    for token in choice.logprobs.content:
        likeliest = next(other for other in token.top_logprobs if not other.token.startswith("<|"))
        assert (token.token, token.logprob) == (likeliest.token, likeliest.logprob)
        assert [t.logprob for t in token.top_logprobs] == sorted((t.logprob for t in token.top_logprobs), reverse=True)
    if not stream:
        assert len(choice.logprobs.content) == answer.usage.completion_tokens
        written = b"".join(bytes(token.bytes) for token in choice.logprobs.content)
        assert written.decode(errors="replace") == choice.message.content


def test_completions_go_on_with_texts_and_with_ids(client, run):
    tokenizer = run.tokenizer()
    text = "Number 3: the parrot said"
    ids = [tokenizer.bos, *tokenizer.encode(text)]
    asked = {"model": "base", "max_tokens": 8, "seed": 3}
    by_text, by_ids = (client.completions.create(prompt=prompt, **asked) for prompt in (text, ids))
    assert by_text.choices[0].text == by_ids.choices[0].text != ""
    several = client.completions.create(prompt=[text, "Number"], n=2, logprobs=2, **asked)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert several.choices[0].text == by_text.choices[0].text
    assert "".join(several.choices[3].logprobs.tokens) == several.choices[3].text
    streamed = client.completions.create(prompt=text, stream=True, **asked)
    assert "".join(chunk.choices[0].text for chunk in streamed) == by_text.choices[0].text


def test_where_a_token_begins_in_the_text(run):
    """In characters; a character of several tokens begins where the first of them does."""
    tokenizer, text = run.tokenizer(), "a 小🦜 b"
    ids = tokenizer.encode(text)
    offsets = list(CompletionForm(tokenizer)._offsets(ids))
    pieces = [tokenizer.token_bytes(id) for id in ids]
    for place, offset in enumerate(offsets):
        before = b"".join(pieces[:place]).decode(errors="ignore")
        assert offset == len(before)
    assert offsets[-1] < len(text) < len(ids)


def test_a_wrong_model_and_a_bad_value_are_the_clients_errors(client):
    with pytest.raises(openai.NotFoundError, match=r"no model 'gpt'.*has sft, base"):
        ask(client, model="gpt")
    with pytest.raises(openai.BadRequestError, match="temperature"):
        ask(client, temperature=-1)
