"""Figures about the server, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..engine import Completion
from .models import Models

SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120)


class Metrics:
    """Counters of one server; `text` is what Prometheus reads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("parrotlet_requests", "Requests answered", ["path", "status"], registry=self.registry)
        self._open = Gauge("parrotlet_open_answers", "Written or waiting", ["model"], registry=self.registry)
        self._answers = Counter(
            "parrotlet_answers", "Answers, by how they ended", ["model", "finish"], registry=self.registry
        )
        self._tokens = Counter(
            "parrotlet_tokens",
            "prompt: read; reused: of them, in memory already; answer: written",
            ["model", "kind"],
            registry=self.registry,
        )
        self._first = Histogram(
            "parrotlet_first_token_seconds",
            "Until an answer tells something",
            ["model"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._whole = Histogram(
            "parrotlet_answer_seconds", "Until an answer has ended", ["model"], buckets=SECONDS, registry=self.registry
        )

    def begun(self, model: str, seconds: float) -> None:
        """An answer tells something for the first time."""
        self._first.labels(model).observe(seconds)

    def ended(self, model: str, seconds: float, completion: Completion) -> None:
        """An answer came to its end."""
        self._whole.labels(model).observe(seconds)
        self._answers.labels(model, completion.finish).inc()
        for kind, count in (
            ("prompt", completion.prompt_tokens),
            ("reused", completion.reused),
            ("answer", len(completion.ids)),
        ):
            self._tokens.labels(model, kind).inc(count)

    def cancelled(self, model: str) -> None:
        """An answer that nobody waited for any more."""
        self._answers.labels(model, "cancelled").inc()

    def text(self, models: Models) -> bytes:
        """All figures, as they are now."""
        for name, served in models.loaded.items():
            self._open.labels(name).set(served.worker.open_tickets)
        return generate_latest(self.registry)
