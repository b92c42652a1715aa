"""Requests that a machine makes up from the server's own description: none of them makes the server fail."""

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from parrotlet.serve.app import build_app
from serving import SMALL


def test_whatever_is_asked_is_answered_or_refused(server):
    statuses = set()
    for operation in schemathesis.openapi.from_url(f"{server}/openapi.json").get_all_operations():

        @settings(max_examples=10, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        @given(case=operation.ok().as_strategy())
        def answered(case):
            if isinstance(case.body, dict):
                case.body = {**case.body, "max_tokens": 2}  # those that are not refused should not take long
            response = case.call(timeout=30)
            statuses.add(response.status_code)
            assert response.status_code < 500, response.text

        answered()
    assert statuses >= {200, 400, 404}


def test_every_route_is_described(run):
    paths = build_app(run, SMALL).openapi()["paths"]
    assert {"/v1/chat/completions", "/v1/completions", "/v1/models", "/health", "/metrics", "/api/ledger"} <= set(paths)
