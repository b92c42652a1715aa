"""`parrotlet eval`."""

from __future__ import annotations

import difflib
from dataclasses import replace
from functools import partial
from pathlib import Path

from .. import ranks
from ..engine import Sampling
from ..errors import UserError
from ..evals.language_model import HuggingFaceModel, OwnModel
from ..evals.pass_at_k import sample_task
from ..recipe import MachineSettings
from ..stages import StageName
from ..tasks import TAKES, TRAINED_ON_ONLY, TaskSpec
from ..train import ProgressLine, Run, askable, load_model, score_stage
from ..train.machine import resolve_machine
from .core_report import check_core, keep_core, measure_core
from .lm_eval_report import measure_lm_eval
from .options import choose_stage, latest_run
from .report import print_table

TEMPERATURE = 0.8


def evaluate(
    run: Path | None = None,
    stage: StageName | None = None,
    tasks: str | None = None,
    limit: int | None = None,
    core: str | None = None,
    hf: Path | None = None,
    trust_code: bool = False,
    lm_eval: str | None = None,
    samples: int | None = None,
    temperature: float | None = None,
) -> None:
    """Ask a trained stage the evaluation tasks again and write the results.

    What more problems gave, of the same checkpoint, stays. HumanEval's programs run in a sandbox; where that can't be
    had, PARROTLET_UNISOLATED_PYTHON=1 runs them all the same. See docs/evaluation.md.

    Args:
        run: Folder of the run. Default: the newest.
        stage: Which stage. Default: every one that is trained.
        tasks: Names, separated by commas, of the recipe's tasks or of any other (humaneval), whose test split is asked.
            Default: all of the recipe's. With --core: of CORE's.
        limit: Problems of each task, at most. Default: the recipe's; with --core: all.
        core: Measure the 22 tasks of CORE instead: `published`, which is downloaded, or a folder with the bundle
            (core.yaml, eval_data/, …). Each task is written, when it is done, to the stage's core.json, or with
            --limit N to its core-first-N.json.
        hf: With --core: a folder with a causal language model of Hugging Face, instead of a run.
        trust_code: Let the folder of --hf run code of its own.
        lm_eval: Ask a run's stage these tasks of lm-eval instead, separated by commas; a folder among them
            defines tasks of your own. The results are written to the stage's lm_eval.json.
        samples: Draw this many answers to each problem with a free answer instead (not of multiple choice), and tell
            pass@1 to pass@SAMPLES; writes no results.
        temperature: With --samples: higher is more varied. Default: 0.8.
    """
    names = None if tasks is None else [name.strip() for name in tasks.split(",")]
    _check_at_least_1(limit=limit, samples=samples)
    _check_together(core=core, lm_eval=lm_eval, samples=samples)
    if tasks is not None and lm_eval is not None:
        raise UserError("--lm-eval names lm-eval's tasks itself: leave --tasks out")
    if trust_code and hf is None:
        raise UserError("--trust-code is for a model of --hf, and none is named")
    if temperature is not None and samples is None:
        raise UserError("--temperature is for --samples: all else is answered with the likeliest token")
    if hf is not None:
        if core is None or run is not None or stage is not None:
            raise UserError("--hf names the model for --core, without --run and --stage: --core BUNDLE --hf FOLDER")
        device = resolve_machine(MachineSettings(compile=False)).device
        measure_core(HuggingFaceModel(hf, device=device, trust_code=trust_code), core, names, limit)
        return
    opened = Run.open(run or latest_run())
    stages: list[StageName] = opened.stages()
    if stage or not stages:
        stages = [choose_stage(opened, stage)]
    with opened.lock():
        for name in stages:
            if core is not None:
                _core(opened, name, core, names, limit)
            elif lm_eval is not None:
                measure_lm_eval(opened, name, lm_eval.split(","), limit)
            elif samples is not None:
                sampling = Sampling(temperature=TEMPERATURE if temperature is None else temperature)
                _pass_at_k(opened, name, names, limit, samples, sampling)
            else:
                score_stage(opened, name, _specs(opened, names), limit)
    if core is None and lm_eval is None and samples is None and ranks.is_first():
        print_table(opened.read_results())


def _check_at_least_1(**options: int | None) -> None:
    for name, value in options.items():
        if value is not None and value < 1:
            raise UserError(f"--{name} {value}: at least 1")


def _check_together(**options: object) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} measure different things: give one of them")


def _core(run: Run, stage: StageName, bundle: str, names: list[str] | None, limit: int | None) -> None:
    print(f"{run.folder}, stage {stage}")
    path = run.stage_folder(stage) / ("core.json" if limit is None else f"core-first-{limit}.json")
    checkpoint = run.identity(stage)
    identity = check_core(path, checkpoint, bundle)
    model = OwnModel(load_model(run, stage), run.tokenizer())
    measure_core(model, bundle, names, limit, partial(keep_core, path, checkpoint, identity))


def _pass_at_k(
    run: Run, stage: StageName, names: list[str] | None, limit: int | None, samples: int, sampling: Sampling
) -> None:
    specs, settings = _specs(run, names), run.recipe.eval
    tasks = [run.sources.task(spec) for spec in specs or askable(settings.tasks)]
    tasks = tasks if specs else [task for task in tasks if task.kind == "generative"]
    if not tasks:
        raise UserError("--samples: no task of the recipe is answered by writing; name one with --tasks")
    model, tokenizer = load_model(run, stage), run.tokenizer()
    sampling = replace(sampling, max_tokens=settings.max_tokens)
    for task in tasks:
        line = ProgressLine(stage, 1)
        measured = sample_task(
            model, tokenizer, task, samples=samples, sampling=sampling, limit=limit or settings.limit, on_progress=line
        )
        line.close()
        shares = ", ".join(_share(k, measured.at(k), *measured.interval(k)) for k in _up_to(samples))
        print(f"{stage} {task.name}: {shares}; of {len(measured.correct)} problems")


def _up_to(samples: int) -> list[int]:
    """1, 2, 4, … and `samples`."""
    return sorted({*(1 << i for i in range(samples.bit_length())), samples})


def _share(k: int, value: float, low: float, high: float) -> str:
    return f"pass@{k} {100 * value:.1f} % [{100 * low:.1f}–{100 * high:.1f}]"


def _specs(run: Run, names: list[str] | None) -> tuple[TaskSpec, ...] | None:
    """The tasks of these names: the recipe's, or any other with its test split."""
    if names is None:
        return None
    own = {spec.name or spec.task: spec for spec in run.recipe.eval.tasks}
    known = list(dict.fromkeys([*own, *(name for name in TAKES if name not in TRAINED_ON_ONLY)]))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise UserError(f"--tasks: nothing to ask is called {name!r}{hint}; there are {', '.join(known)}")
    return tuple(own[name] if name in own else TaskSpec(task=name, split="test") for name in names)
