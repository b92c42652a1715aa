"""A model of Parrotlet for lm-eval (EleutherAI's lm-evaluation-harness), without an export.

Texts begin with `<|bos|>`, as in training, and as the tokenizer of an export makes them begin.
"""

# pyright: reportAssignmentType=false, reportTypedDictNotRequiredAccess=false
# What lm-eval states of its types does not fit its own calls.

from __future__ import annotations

import operator
import sys
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from ..engine import Engine, Sampling
from ..errors import UserError
from ..model import GPT
from ..tokenizer import Tokenizer
from .branches import Row
from .core import Progress, score
from .language_model import OwnModel

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

DEFAULT_MAX_TOKENS = 256


class LmEvalModel(TemplateLM):
    """What lm-eval asks of a model."""

    def __init__(
        self, model: GPT, tokenizer: Tokenizer, *, rows: int = 32, on_progress: Progress = lambda done, total: None
    ) -> None:
        super().__init__()
        self._model, self._tokenizer, self._rows, self._on_progress = model, tokenizer, rows, on_progress
        self._device = next(model.parameters()).device

    @property
    def eot_token_id(self) -> int:
        """See lm-eval: what stands before a text that has nothing before it."""
        return self._tokenizer.bos

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Ids of a text, after `<|bos|>` unless `add_special_tokens` is False."""
        prefix = [] if add_special_tokens is False else [self._tokenizer.bos]
        return prefix + self._tokenizer.encode(string)

    @torch.inference_mode()
    def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = False, **kwargs: Any) -> Any:
        """Log-probability of each continuation, and whether it is the likeliest.

        Choices of one question, which come one after the other, share its computation.
        """
        rows = [[self._row(*pair) for _, *pair in some] for _, some in groupby(requests, key=lambda one: one[1])]
        if cut := sum(row.cut for some in rows for row in some):
            print(f"{cut} of {len(requests)} texts are longer than the model can read: cut", file=sys.stderr)
        scores = score(OwnModel(self._model, self._tokenizer), rows, on_progress=self._on_progress)
        return [
            (-loss * len(row.scored), likeliest)
            for texts, found in zip(rows, scores, strict=True)
            for row, (loss, likeliest) in zip(texts, found, strict=True)
        ]

    def _row(self, context: list[int], continuation: list[int]) -> Row:
        """As lm-eval cuts it: as many tokens are read as there are positions, and one more is predicted."""
        whole = context + continuation
        ids = whole[-self._model.config.sequence_len - 1 :]
        return Row(ids, max(1, len(ids) - len(continuation)), cut=len(ids) < len(whole))

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Log-probability of whole texts; what is longer than the context in pieces, as lm-eval defines them."""
        length, totals = self._model.config.sequence_len, []
        for (text,) in (request.args for request in requests):
            ids = self.tok_encode(text, add_special_tokens=False)
            windows = map(make_disjoint_window, get_rolling_token_windows(ids, self.prefix_token_id, length, 1))
            scores = self._loglikelihood_tokens([(None, *window) for window in windows])
            totals.append(sum(logprob for logprob, _ in scores))
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """What the model writes, up to a text to stop at. A prompt that leaves no room loses its beginning, and that is
        told; `UserError` where the answer alone may take the whole context."""
        asked = [request.args for request in requests]
        samplings = [self._sampling(settings) for _, settings in asked]
        whole = [self.tok_encode(context) for context, _ in asked]
        prompts = [ids[-self._room(s.max_tokens) :] for ids, s in zip(whole, samplings, strict=True)]
        if cut := sum(map(operator.ne, map(len, prompts), map(len, whole))):
            print(f"{cut} of {len(whole)} prompts are longer than the context leaves room for: cut", file=sys.stderr)
        engine = Engine(self._model, self._tokenizer, rows=self._rows)
        answers = engine.generate(prompts, samplings, tools=False, on_progress=self._on_progress)
        return [answer.text for answer in answers]

    def _room(self, max_tokens: int) -> int:
        """For a prompt, in tokens."""
        context = self._model.config.sequence_len
        if max_tokens >= context:
            raise UserError(
                f"a task asks for answers of up to {max_tokens} tokens (max_gen_toks; lm-eval's default is "
                f"{DEFAULT_MAX_TOKENS}); the model's context of {context} has no room for a question beside that"
            )
        return context - max_tokens

    def _sampling(self, settings: Any) -> Sampling:
        given = normalize_gen_kwargs(settings, DEFAULT_MAX_TOKENS)
        return Sampling(
            temperature=given.get("temperature", 0.0),
            top_k=given.get("top_k"),
            top_p=given.get("top_p"),
            stop=tuple(filter(None, given["until"])),
            max_tokens=given["max_gen_toks"],
        )
