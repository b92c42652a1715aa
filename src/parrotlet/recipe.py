"""A recipe: everything that decides a run, as one strict TOML file.

Unknown keys are refused with the nearest known one. The built-in recipes lie beside this module in `recipes/`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import tomli_w

from .errors import UserError
from .files import read_text
from .model import ModelConfig
from .optim import OptimSettings
from .stages import STAGES, Stage, StageName
from .tasks import TaskSpec

T = TypeVar("T")

UNDECIDED_ROWS = 8
"""Rows computed at a time where nothing has decided it: see `StageSettings.micro_rows`."""


@dataclass(frozen=True, kw_only=True)
class TokenizerSettings:
    """The byte-level BPE."""

    vocab_size: int = 65_536
    """Tokens in all: 256 bytes, the merges, and nine special tokens."""
    max_chars: int = 2_000_000_000
    """Characters of text that it is trained on, at most."""
    max_chars_per_document: int = 10_000
    """Characters taken of one document, at most."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The model. `depth` is the one dial: what is not given here follows from it."""

    depth: int = 20
    """Transformer blocks."""
    sequence_len: int = 2048
    """Tokens in a row, and positions of the model's context."""
    width: int | None = None
    """Size of the residual stream. Default: 64 × depth."""
    heads: int | None = None
    """Attention heads. Default: width / 128, rounded up."""
    kv_heads: int | None = None
    """Key and value heads; a divisor of `heads`. Default: as many as heads."""
    short_conv: bool = False
    """Add to each token learned shares of the three before it, after the embedding and before every MLP: a small model
    then learns in far fewer steps to find again what it has read. Such a model is no longer transformers' NanoChat."""
    ngrams: int = 0
    """Rows of a second embedding, looked up by hashes of a token with the one and with the two before it: memory, and
    hardly any time, for fewer bits per byte (docs/performance-log.md). 0: none. Not transformers' NanoChat either."""

    def config(self, vocab_size: int) -> ModelConfig:
        """The model that these few figures mean. Raises `UserError` where they don't fit together."""
        given = {name: getattr(self, name) for name in ("width", "heads", "kv_heads", "short_conv", "ngrams")}
        overrides = {name: value for name, value in given.items() if value is not None}
        return ModelConfig.from_depth(self.depth, vocab_size=vocab_size, sequence_len=self.sequence_len, **overrides)


@dataclass(frozen=True, kw_only=True)
class MachineSettings:
    """How it is computed. `auto` and 0 are decided once, when a run begins, and written into its folder."""

    device: str = "auto"
    """`cpu`, `cuda`, `mps`, or `auto`: the best that there is."""
    dtype: str = "auto"
    """`float32`, `bfloat16`, or `auto`: bfloat16 where the machine is good at it. Weights stay float32."""
    compile: bool | Literal["auto"] = "auto"
    """Compile the blocks with torch.compile. `auto`: where it finds what it needs (a C++ compiler for a CPU, Triton
    and a C compiler for CUDA, and Python's headers)."""
    threads: int = 0
    """CPU threads, shared by the ranks on a machine. 0: one a core."""
    recompute: bool = False
    """Keep only the inputs of the blocks and compute the rest again in the backward pass: far less memory, and a third
    more to compute."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where data come from."""

    hub: str = "hub"
    """`hub`: the Hugging Face Hub (HF_ENDPOINT names a mirror, HF_HUB_OFFLINE=1 keeps to what is cached). Or a
    folder with the Hub's layout. Datasets of `parrotlet/` always come from the embedded world."""
    world_documents: int = 20_000
    """Documents of the embedded world, about 250 bytes each; the conversations stay the same."""
    words: str = "world"
    """The word list of the spelling tasks: `world`, `world-common` (its words that the world's documents use often),
    `english` (370,105 words, downloaded), or a text file with one word a line."""
    core: str = "published"
    """CORE's evaluation bundle: `published`, which is downloaded where a stage has `core_every`, or a folder like it
    (core.yaml, eval_meta_data.csv, eval_data/)."""
    streams: int = 64
    """Logical streams that deal out the rows of base training."""


@dataclass(frozen=True, kw_only=True)
class DocumentSettings:
    """The texts of base training."""

    source: str
    """Files or a folder of parquet, jsonl, txt or md (the last three also .gz or .zst): here (`my_texts/*.jsonl`), on
    the Hub (`hf://datasets/ORG/NAME/GLOB`), or wherever fsspec reaches (`s3://…`, `https://…`)."""
    weight: float = 1.0
    """Share of the training tokens, relative to the other sources."""
    text: str = "text"
    """The column or field that holds the text."""
    validation: tuple[str, ...] = ()
    """Names of files that are for validation only. Empty: `holdout` of the documents, chosen by their content."""
    holdout: float = 0.01
    """Share of the documents held out where `validation` names no files."""
    max_files: int | None = None
    """Training files to use, the first by name. Default: all."""


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """Sizes and intervals of one stage; what kind of stage it is stands in `stages.py`."""

    documents: DocumentSettings | tuple[DocumentSettings, ...] | None = None
    """Texts (base): one table, or a list of them, mixed by their weights."""
    train: tuple[TaskSpec, ...] = ()
    """Tasks, shuffled together (mid, sft)."""
    validation: tuple[TaskSpec, ...] = ()
    """Tasks whose loss is measured on the way (mid, sft)."""
    tokens_per_step: int | None = None
    """Tokens in a step (base, mid): a multiple of sequence_len × device_batch_size."""
    conversations_per_step: int | None = None
    """Conversations in a step (sft)."""
    device_batch_size: int | Literal["auto"] = 32
    """Rows that the device computes at a time: changes memory and speed, nothing else. `auto`: what a short probe finds
    fastest, and to fit into the memory, when a run begins; written into its folder."""
    num_iterations: int | None = None
    """Steps (base). If not given: from `target_flops`, else from `target_param_data_ratio`."""
    target_flops: float | None = None
    """Floating-point operations to spend (base)."""
    target_param_data_ratio: float | None = None
    """Training tokens per parameter (base), the embedding of n-grams not counted."""
    epochs: int = 1
    """Times through the conversations (mid, sft)."""
    lr_scale: float | None = None
    """Factor on the learning rates. Default: the stage's."""
    warmup_frac: float = 0.0
    """Share of the steps over which the rate rises from 0."""
    warmdown_frac: float | None = None
    """Share of the steps over which the rate falls. Default: the stage's."""
    final_lr_frac: float = 0.0
    """What it falls to, as a share of the full rate."""
    eval_every: int = 250
    """Steps between measurements of the validation loss."""
    eval_tokens: int = 10_485_760
    """Tokens that the validation loss is measured on, at most."""
    tasks: tuple[TaskSpec, ...] = ()
    """Multiple-choice tasks whose accuracy is measured on the way."""
    tasks_every: int = 250
    """Steps between these measurements, a multiple of eval_every; the last is at the end."""
    tasks_limit: int = 1024
    """Problems of each task."""
    core_every: int = 0
    """Steps between measurements of CORE (base), a multiple of eval_every; the last is at the end. 0: none."""
    core_limit: int = 500
    """Examples of each of its tasks."""
    sample_every: int = 0
    """Steps between samples of what the model writes. 0: only at the end."""
    save_every: int = 1000
    """Steps between checkpoints. The last step is saved, too, and so is every step before it is measured or sampled."""
    keep_checkpoints: int = 2
    """How many checkpoints are kept; older ones are removed. 0: all."""
    keep_every: int = 0
    """Of the older ones, those whose step is a multiple of this stay. 0: none."""

    @property
    def texts(self) -> tuple[DocumentSettings, ...]:
        """The sources of `documents`."""
        given = self.documents
        return given if isinstance(given, tuple) else (given,) if given else ()

    @property
    def micro_rows(self) -> int:
        """`device_batch_size`; where it is not decided (an inspector looks at a recipe without a run), some number."""
        return UNDECIDED_ROWS if self.device_batch_size == "auto" else self.device_batch_size


@dataclass(frozen=True, kw_only=True)
class EvalSettings:
    """What every stage is asked at the end."""

    tasks: tuple[TaskSpec, ...] = ()
    """Tasks, each with the split to use."""
    limit: int | None = None
    """Problems of each task, at most, evenly spread. Default: all."""
    max_tokens: int = 256
    """Length of an answer, in tokens."""
    batch_size: int = 64
    """Problems computed at a time."""


@dataclass(frozen=True, kw_only=True)
class TrackSettings:
    """Where metrics are sent besides `metrics.jsonl`."""

    to: Literal["none", "trackio", "wandb"] = "none"
    """Needs the extra `track`."""
    project: str = "parrotlet"
    """Name of the project there."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole recipe."""

    name: str
    seed: int = 42
    tokenizer: TokenizerSettings = field(default_factory=TokenizerSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    machine: MachineSettings = field(default_factory=MachineSettings)
    data: DataSettings = field(default_factory=DataSettings)
    base: StageSettings = field(default_factory=StageSettings)
    mid: StageSettings = field(default_factory=StageSettings)
    sft: StageSettings = field(default_factory=StageSettings)
    eval: EvalSettings = field(default_factory=EvalSettings)
    track: TrackSettings = field(default_factory=TrackSettings)

    def stage(self, name: StageName) -> StageSettings:
        """The settings of a stage."""
        return getattr(self, name)

    @classmethod
    def load(cls, name_or_path: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
        """Read a built-in recipe by name or a file by path; `overrides` maps dotted keys to values."""
        path = Path(name_or_path)
        if path.suffix == ".toml":
            if not path.is_file():
                raise UserError(f"{path}: no such recipe file")
            return cls.parse(read_text(path), str(path), overrides)
        file = resources.files("parrotlet") / "recipes" / f"{name_or_path}.toml"
        if not file.is_file():
            known = built_in_recipes()
            raise UserError(
                f"no recipe {name_or_path!r}{_did_you_mean(name_or_path, known)}; "
                f"there are {', '.join(known)}, or give the path of a .toml file"
            )
        return cls.parse(file.read_text("utf-8"), f"recipe {name_or_path}", overrides)

    @classmethod
    def parse(cls, text: str, where: str, overrides: Mapping[str, Any] | None = None) -> Recipe:
        """Read a recipe from TOML. `where` names it in messages."""
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{where}: not TOML: {error}") from None
        for key, value in (overrides or {}).items():
            _set(values, key, value)
        recipe = _build(cls, values, where)
        recipe.check(where)
        return recipe

    def flat(self) -> dict[str, Any]:
        """All values by their dotted keys."""
        return _flat(dataclasses.asdict(self))

    def to_toml(self) -> str:
        """The recipe with every value written out."""
        return tomli_w.dumps(_without_none(dataclasses.asdict(self)))

    def check(self, where: str = "recipe") -> None:
        """Raise `UserError` where values don't fit together."""
        least = {"seed": 0, "model.sequence_len": 2, "data.streams": 1, "data.world_documents": 1, "machine.threads": 0}
        least |= {"tokenizer.max_chars": 1, "tokenizer.max_chars_per_document": 1}
        least |= {f"eval.{name}": 1 for name in ("limit", "batch_size", "max_tokens")}
        for name in ("epochs", "device_batch_size", "tasks_every", "tasks_limit", "core_limit", "eval_tokens"):
            least |= {f"{stage}.{name}": 1 for stage in STAGES}
        for name in ("num_iterations", "target_flops", "conversations_per_step"):
            least |= {f"{stage}.{name}": 1 for stage in STAGES}
        least |= {f"{stage}.target_param_data_ratio": 1e-6 for stage in STAGES}
        least |= {f"{stage}.lr_scale": 0 for stage in STAGES}
        for name in ("eval_every", "core_every", "save_every", "sample_every", "keep_checkpoints", "keep_every"):
            least |= {f"{stage}.{name}": 0 for stage in STAGES}
        values = self.flat()
        for key, lowest in least.items():
            if isinstance(values[key], int | float) and not lowest <= values[key] < math.inf:
                raise UserError(f"{where}: {key} = {values[key]} must be at least {lowest}, and finite")
        for stage in STAGES.values():
            _check_stage(stage, self.stage(stage.name), self.model.sequence_len, f"{where}: [{stage.name}]")
            _check_names(self.stage(stage.name).train, f"{where}: [{stage.name}] train")
        _check_splits(self.eval.tasks, "test or validation", f"{where}: [eval] tasks")
        names = [spec.name or spec.task for spec in self.eval.tasks]
        if twice := {name for name in names if names.count(name) > 1}:
            raise UserError(f"{where}: [eval] tasks: two are called {min(twice)!r}; give one of them another name")


def built_in_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("parrotlet") / "recipes"
    return sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


def differences(ours: Recipe, theirs: Recipe) -> list[str]:
    """Dotted keys whose values differ, each as `key: ours → theirs`."""
    a, b = ours.flat(), theirs.flat()
    return [f"{key}: {a.get(key)!r} → {b.get(key)!r}" for key in sorted({*a, *b}) if a.get(key) != b.get(key)]


def _check_stage(stage: Stage, settings: StageSettings, sequence_len: int, where: str) -> None:
    unused = ("conversations_per_step",) if stage.step_unit == "tokens" else ("tokens_per_step",)
    if stage.reads == "documents":
        unused += ("train", "validation")
        if settings.epochs != 1:
            raise UserError(
                f"{where} epochs = {settings.epochs}: base reads as many tokens as num_iterations, target_flops or "
                "target_param_data_ratio say, and the texts again if there are fewer; leave epochs out"
            )
    else:
        unused += ("documents", "num_iterations", "target_flops", "target_param_data_ratio", "core_every")
    for name in unused:
        if getattr(settings, name):
            raise UserError(f"{where} {name} has no meaning in this stage, which reads {stage.reads}")
    if stage.reads == "documents" and not settings.texts:
        raise UserError(f"{where} names no texts; add documents = {{source = …}}")
    if stage.reads == "conversations" and not settings.train:
        raise UserError(f"{where} names no tasks; add [[{stage.name}.train]] tables")
    for name, every in (
        ("core_every", settings.core_every),
        ("tasks_every", settings.tasks_every * bool(settings.tasks)),
    ):
        if every and (not settings.eval_every or every % settings.eval_every):
            raise UserError(f"{where} {name} = {every} must be a multiple of eval_every = {settings.eval_every}")
    for name in ("warmup_frac", "warmdown_frac", "final_lr_frac"):
        if not 0 <= (getattr(settings, name) or 0) <= 1:
            raise UserError(f"{where} {name} = {getattr(settings, name)} is a share: from 0 to 1")
    _check_splits(settings.train, "train", f"{where} train")
    _check_splits(settings.validation, "validation", f"{where} validation")
    _check_splits(settings.tasks, "validation", f"{where} tasks")
    _check_texts(settings.texts, f"{where} documents")
    rows = 1 if settings.device_batch_size == "auto" else settings.device_batch_size
    micro = sequence_len * rows
    if stage.step_unit == "conversations":
        if not settings.conversations_per_step:
            raise UserError(f"{where} needs conversations_per_step")
    elif not settings.tokens_per_step or settings.tokens_per_step % micro:
        raise UserError(
            f"{where} tokens_per_step = {settings.tokens_per_step} must be a multiple of sequence_len × "
            f"device_batch_size = {sequence_len} × {rows} = {micro}"
        )


def _check_texts(texts: tuple[DocumentSettings, ...], where: str) -> None:
    for settings in texts:
        if not 0 <= settings.holdout < 1:
            raise UserError(f"{where}: holdout = {settings.holdout} is a share: from 0 to below 1")
        if not 0 < settings.weight < float("inf"):
            raise UserError(f"{where}: weight = {settings.weight} must be above 0")
        if settings.max_files is not None and settings.max_files < 1:
            raise UserError(f"{where}: max_files = {settings.max_files} must be at least 1")
    names = [settings.source for settings in texts]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UserError(f"{where}: {min(twice)!r} is named twice; name it once, with the sum of the weights")


def _check_names(specs: tuple[TaskSpec, ...], where: str) -> None:
    """What has the same name counts its items alike, so that a number means one row."""
    first: dict[tuple[str, str | None], TaskSpec] = {}
    for spec in specs:
        other = first.setdefault((spec.name or spec.task, spec.dataset), spec)
        if any(getattr(spec, each) != getattr(other, each) for each in ("task", "start", "subset", "words")):
            raise UserError(f"{where}: two parts are called {spec.name or spec.task!r}; give one of them another name")


def _check_splits(specs: tuple[TaskSpec, ...], allowed: str, where: str) -> None:
    """What is measured on is never trained on, and what is measured on the way is never what is tested at the end."""
    for spec in specs:
        if spec.split not in allowed.split(" or "):
            raise UserError(f"{where}: {spec.name or spec.task} has split = {spec.split!r}; here it must be {allowed}")


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    *tables, key = dotted.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            raise UserError(f"{dotted}: {table!r} is not a table")
    values[key] = value


def _build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build a dataclass from a mapping: no unknown keys, no missing ones, no value of another type."""
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # pyright: ignore[reportArgumentType]
    for key in values:
        if key not in fields:
            known = ", ".join(fields)
            raise UserError(f"{where}: unknown key {key!r}{_did_you_mean(key, fields)}; known here: {known}")
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise UserError(f"{where}: the key {name!r} is missing")
    return cls(**{key: _value(hints[key], value, f"{where}: {key}") for key, value in values.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    """`value` as `hint` asks for it."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _one_of([arg for arg in args if arg is not type(None)], value, where)
    if origin is Literal:
        if value not in args:
            raise UserError(f"{where} must be one of {', '.join(map(repr, args))}; found {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise UserError(f"{where} must be a list, found {value!r}")
        element = args[0]
        kinds = [element] * len(value) if args[-1] is Ellipsis else list(args)
        if len(kinds) != len(value):
            raise UserError(f"{where} must hold {len(kinds)} values, found {value!r}")
        return tuple(_value(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise UserError(f"{where} must be a table, found {value!r}")
        return _build(typing.cast("type[Any]", hint), value, where)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise UserError(f"{where} must be {hint.__name__}, found {value!r}")
    return value


def _one_of(hints: list[Any], value: Any, where: str) -> Any:
    errors = []
    if isinstance(value, list | dict):  # say what is wrong with it as the one thing that it can be
        lists = [hint for hint in hints if typing.get_origin(hint) is tuple]
        hints = lists if isinstance(value, list) and lists else [hint for hint in hints if hint not in lists]
    for hint in hints:
        try:
            return _value(hint, value, where)
        except UserError as error:
            errors.append(str(error))
    raise UserError(errors[0] if len(errors) == 1 else "; or ".join(errors))


def _did_you_mean(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_none(v) for v in value]
    return value


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{prefix}{key}.").items()}
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return {k: v for i, inner in enumerate(value) for k, v in _flat(inner, f"{prefix}{i}.").items()}
    return {prefix[:-1]: value}
