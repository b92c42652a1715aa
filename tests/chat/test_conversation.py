import pytest

from parrotlet.chat import Conversation, Message, Part
from parrotlet.errors import UserError

USER, ASSISTANT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
SAID, CALL = {"type": "text", "text": "a"}, {"type": "python", "text": "1+1"}
RESULT = {"type": "python_output", "text": "2"}


def test_reads_texts_and_parts():
    call = {"role": "assistant", "content": [SAID, CALL, RESULT]}
    conversation = Conversation.from_messages([USER, call], "here")
    assert conversation.messages == (
        Message("user", "Hi"),
        Message("assistant", (Part("text", "a"), Part("python", "1+1"), Part("python_output", "2"))),
    )
    assert conversation.messages[1].text == "a"


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "expected a list of messages"),
        ({"messages": []}, "expected a list of messages"),
        ("Hi", "expected a list of messages"),
        ([["user", "Hi"]], "message 1: expected"),
        ([{"role": "robot", "content": "Hi"}], "role must be one of"),
        ([{"role": "user", "content": None}], "must be a text"),
        ([{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "must be a text"),
        ([USER, {"role": "assistant", "content": [{"type": "image", "text": ""}]}], "part 1: expected"),
        ([USER, {"role": "assistant", "content": [CALL, SAID]}], "message 2: in parts, each python is followed by"),
        ([USER, {"role": "assistant", "content": [SAID, RESULT]}], "message 2: in parts, each python is followed by"),
        ([ASSISTANT, USER], "message 1 has the role 'assistant' where 'user' is due"),
        ([USER, USER], "message 2 has the role 'user' where 'assistant' is due"),
        ([USER, {"role": "system", "content": "x"}], "message 2 has the role 'system'"),
        ([{"role": "system", "content": "x"}], "only a system message"),
    ],
)
def test_bad_messages_are_refused_with_their_place(messages, says):
    with pytest.raises(UserError, match=r"talk\.jsonl, line 7") as caught:
        Conversation.from_messages(messages, "talk.jsonl, line 7")
    assert says in str(caught.value)


def test_a_conversation_without_an_answer_cannot_be_trained_on():
    with pytest.raises(UserError, match="no assistant message"):
        Conversation.from_messages([USER], "here").check_trainable("here")
    with pytest.raises(UserError, match="ends with a user message"):
        Conversation.from_messages([USER, ASSISTANT, USER], "here").check_trainable("here")
