"""What the page shows of the run beside the chat: curves, results, ledger, x-rays."""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import HTMLResponse

from ..inspect import Finder, Material, take_xray
from ..inspect.html import Language, page, page_data
from ..inspect.ledger import ledger
from ..stages import STAGES, StageName
from ..train import Run
from .errors import Refusal

POINTS = 600
"""Of a curve, at most: more than a screen has pixels for."""
CURVES = ("loss", "lr_mult")
CHINESE = re.compile("[\u4e00-\u9fff]")


def view_routes(run: Run) -> APIRouter:
    """The routes that tell about a run. They read its files anew, so that a run can be watched while it trains."""
    router = APIRouter(prefix="/api")

    @router.get("/run")
    def about() -> dict[str, Any]:
        """Its name, its stages, what every stage is for, and questions that the latest one can answer."""
        stages = [{"name": stage.name, "phrase": stage.phrase} for stage in STAGES.values()]
        trained = run.stages()[::-1]
        questions = _questions(run.answers(trained[0])) if trained else []
        return {
            "name": run.recipe.name,
            "folder": run.folder.name,
            "stages": stages,
            "trained": trained,
            "questions": questions,
        }

    @router.get("/curves")
    def curves() -> dict[str, Any]:
        """Training and validation of every stage: a list of values for every name, beside `step`."""
        return {
            stage: {
                "training": _columns(run.metrics(stage).read(), CURVES),
                "validation": _columns(run.validation(stage).read(), ("val_loss", "val_bpb")),
            }
            for stage in STAGES
            if run.metrics(stage).path.exists()
        }

    @router.get("/results")
    def results() -> dict[str, Any]:
        """`results.json`."""
        return run.read_results()

    @router.get("/ledger")
    def read_ledger() -> list[dict[str, Any]]:
        """What was planned and what has been trained on."""
        return [dataclasses.asdict(stage) for stage in ledger(run)]

    @router.get("/xray/{stage}")
    def xray(
        stage: StageName,
        step: Annotated[int, Query(ge=0, lt=2**31)] = 0,
        beside: StageName | None = None,
        language: Language = "",
    ) -> HTMLResponse:
        """A step of a stage as a page, as `parrotlet xray --html` writes it."""
        return HTMLResponse(_xray_page(run, stage, step, beside, language))

    @router.get("/{path:path}", include_in_schema=False)
    def unknown(path: str) -> None:
        """Anything else is no page."""
        raise Refusal(404, f"there is no /api/{path}")

    return router


def _xray_page(run: Run, stage: StageName, step: int, beside: StageName | None, language: Language) -> str:
    material = Material.of_run(run)
    finder = Finder(material, STAGES[beside]) if beside else None
    return page(page_data(take_xray(material, STAGES[stage], step), finder), language)


def _questions(answers: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Of every task the shortest question that was answered right, without and with Chinese."""
    right = sorted((answer for answer in answers if answer["correct"]), key=lambda answer: len(answer["prompt"]))
    shortest: dict[tuple[str, str], str] = {}
    for answer in right:
        language = "zh" if CHINESE.search(answer["prompt"]) else "en"
        shortest.setdefault((answer["task"], language), answer["prompt"])
    return [{"task": task, "language": language, "text": text} for (task, language), text in shortest.items()]


def _columns(lines: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, list[float | None]]:
    """Every k-th line, and the last, as columns."""
    k = max(1, -(-len(lines) // POINTS))
    kept = [line for i, line in enumerate(lines) if i % k == 0 or i == len(lines) - 1]
    return {name: [line.get(name) for line in kept] for name in ("step", *names)}
