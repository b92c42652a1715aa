"""A conversation that slides through the context by whole turns."""

from __future__ import annotations

from dataclasses import replace

from ..chat import Conversation, render_prompt
from ..tokenizer import Tokenizer


class Window:
    """The end of a conversation, as a prompt: a system message stays, the oldest exchanges go."""

    def __init__(self, conversation: Conversation, tokenizer: Tokenizer) -> None:
        self._conversation, self._tokenizer = conversation, tokenizer
        self.prompt = render_prompt(conversation, tokenizer)
        self.left_out = 0
        """Exchanges (a user's message and its answer) that went."""

    def slide(self, size: int) -> bool:
        """Leave exchanges out until the prompt has at most `size` tokens or only the last message is left; returns
        whether any was left out."""
        before = self.left_out
        first = 1 if self._conversation.messages[0].role == "system" else 0
        while len(self.prompt) > size and len(self._conversation.messages) > first + 1:
            messages = self._conversation.messages
            self._conversation = replace(self._conversation, messages=messages[:first] + messages[first + 2 :])
            self.prompt = render_prompt(self._conversation, self._tokenizer)
            self.left_out += 1
        return self.left_out > before
