"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from simulator.cli.values import NameText, OneOf, PathText, Whole
from simulator.errors import InputError, nearest

if TYPE_CHECKING:
    from simulator.hardware import ServingEngine, System

DTYPES = ("bf16", "fp8", "int8")
MATMUL_DTYPES = (*DTYPES, "nvfp4", "fp4")
"""Of matmuls and experts; arithmetic in fp4 is that of nvfp4 by a shorter name."""
WEIGHT_DTYPES = (*DTYPES, "nvfp4", "fp4", "int4")
"""Weights that are narrower than the arithmetic's type are converted to it on the way."""

F = TypeVar("F", bound=Callable[..., Any])

tp_option = click.option(
    "--tp", type=Whole(), help="Chips of one tensor-parallel group (default: all of the system)."
)
seed_option = click.option(
    "--seed",
    type=Whole(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Of the traffic that is drawn, and of every other random choice.",
)
set_option = click.option(
    "--set",
    "overrides",
    metavar="PATH=VALUE",
    multiple=True,
    help="Override a configuration value, e.g. chip.hbm.bandwidth=1.2TB/s (repeatable).",
)
format_option = click.option(
    "--format",
    "output_format",
    type=OneOf("table", "json"),
    default="table",
    show_default=True,
    help="What to print on stdout.",
)
chip_option = click.option(
    "--chip",
    "chip_name",
    type=NameText(),
    metavar="CHIP",
    required=True,
    help="Name or file of a chip.",
)
explain_option = click.option(
    "--explain", is_flag=True, help="Add formula, limit and configuration values of each figure."
)
engine_option = click.option(
    "--engine",
    type=NameText(),
    metavar="NAME",
    help="Serving engine whose host time counts, e.g. vllm (default: the system's host_overhead).",
)
timeline_option = click.option(
    "--timeline",
    type=PathText(),
    metavar="FILE",
    help="Write a trace-event JSON for Perfetto (gzip if FILE ends in .gz).",
)
assert_option = click.option(
    "--assert",
    "assertions",
    metavar="EXPR",
    multiple=True,
    help="Fail with status 1 unless it holds, e.g. 'ttft_p99<300ms' (repeatable).",
)


def choice_option(
    name: str, *choices: str, default: str, help: str, show_default: bool = True
) -> Callable[[F], F]:
    """An option that is one of a few names."""
    return click.option(
        name, type=OneOf(*choices), default=default, show_default=show_default, help=help
    )


def dtype_options(command: F) -> F:
    """``--dtype`` and the three it stands for."""
    kind = OneOf(*MATMUL_DTYPES)
    for option in (
        click.option(
            "--kv-dtype", type=OneOf(*DTYPES), help="Data type of the KV cache (default: bf16)."
        ),
        click.option("--activation-dtype", type=kind, help="Type that sets the arithmetic rate."),
        click.option(
            "--weight-dtype", type=OneOf(*WEIGHT_DTYPES), help="Data type of the weights."
        ),
        click.option("--dtype", type=kind, help="Weights and activations (default: bf16)."),
    ):
        command = option(command)
    return command


def cases_option(columns: str) -> Callable[[F], F]:
    """``--cases FILE`` with these columns; lines of ``--help`` end between two of them."""
    spaced = re.sub(r",(?! )", ", ", columns)
    return click.option(
        "--cases", "cases_file", type=PathText(), metavar="FILE", help=f"CSV with {spaced}."
    )


def step_options(command: F, required: bool = True) -> F:
    """SYSTEM, MODEL, and the batch of one prefill or decode step on them."""
    where = "" if required else "  [required without --cases]"
    lengths = "Tokens of a sequence before the step (decode), or of its prompt (prefill)."
    for option in (
        engine_option,
        click.option("--context", type=Whole(), required=required, help=lengths + where),
        click.option(
            "--batch",
            type=Whole(),
            required=required,
            help="Sequences over the whole system." + where,
        ),
        click.option(
            "--phase",
            type=OneOf("prefill", "decode"),
            required=required,
            help="What is priced." + where,
        ),
        click.argument("model_name", metavar="MODEL", type=NameText()),
        click.argument("system_name", metavar="SYSTEM", type=NameText()),
    ):
        command = option(command)
    return command


def row_step_options(command: F) -> F:
    """As ``step_options``, for a command that may have them from the rows of a file."""
    return step_options(command, required=False)


def resolve_dtypes(
    dtype: str | None, weight: str | None, activation: str | None, kv: str | None
) -> dict[str, str]:
    """The three data types as keyword arguments of ``simulate`` and ``price_step``."""
    both = "nvfp4" if dtype == "fp4" else dtype or "bf16"
    return {
        "weight_dtype": weight or both,
        "activation_dtype": ("nvfp4" if activation == "fp4" else activation) or both,
        "kv_dtype": kv or "bf16",
    }


_EXAMPLES = {
    "chip": "chip.hbm.bandwidth",
    "system": "system.host_overhead",
    "model": "model.layers",
    "workload": "workload.requests",
    "engine": "engine.iteration",
    "library": "library.cublas.boost",
}


def check_override_roots(overrides: Sequence[str], roots: Sequence[str]) -> None:
    """Refuse ``--set`` for a part of the configuration that this command does not use.

    Raises:
        InputError: not ``PATH=VALUE``, or a path that starts with none of ``roots``.
    """
    for text in overrides:
        path, equals, value = text.partition("=")
        if not equals or not path.strip() or not value.strip():
            raise InputError(f"--set: found '{text}', expected PATH=VALUE")
        root, dot, key = path.strip().partition(".")
        if root in roots and not (dot and key):
            raise InputError(
                f"--set: '{text}' names no value of the {root}",
                hint=f"for example {_EXAMPLES.get(root, root + '.KEY')}=VALUE",
            )
        if root not in roots:
            close = nearest(root, roots) or _part_with(root, roots)
            raise InputError(
                f"--set: unknown part '{root}' in '{text}'; this command has {', '.join(roots)}",
                hint=None if close is None else f"did you mean '{close}'?",
            )


def _part_with(key: str, roots: Sequence[str]) -> str | None:
    """``chip.hbm`` for ``hbm``: the path of a key that was given without its part."""
    from simulator.config.chip_schema import ChipConfig
    from simulator.config.engine_schema import EngineConfig
    from simulator.config.model_schema import ModelConfig
    from simulator.config.system_schema import SystemConfig

    schemas: dict[str, Any] = {
        "chip": ChipConfig,
        "system": SystemConfig,
        "model": ModelConfig,
        "engine": EngineConfig,
    }
    for root, schema in schemas.items():
        if root in roots and key in schema.model_fields:
            return f"{root}.{key}"
    return None


def overrides_for(overrides: Sequence[str], *roots: str) -> tuple[str, ...]:
    """The overrides whose path starts with one of ``roots``."""
    return tuple(text for text in overrides if text.strip().split(".")[0] in roots)


def chosen_engine(name: str | None, overrides: Sequence[str]) -> ServingEngine | None:
    """The serving engine of ``--engine`` with its overrides; None where none is named.

    Raises:
        InputError: there is none of that name, or overrides without one.
    """
    own = overrides_for(overrides, "engine")
    if name is None:
        if own:
            raise InputError(f"--set: '{own[0]}' needs --engine", hint="for example --engine vllm")
        return None
    for text in overrides:
        if text.strip().startswith("system.host_overhead"):
            raise InputError(
                f"--set: '{text}' has no effect beside --engine",
                hint="the host's time is the engine's: --set engine.iteration=...",
            )
    from dataclasses import replace

    from simulator.config.loader import load_engine

    engine = load_engine(name, own)
    # what was measured is the engine as its file has it
    return replace(engine, validation=()) if own else engine


def with_engine(system: System, engine: ServingEngine | None) -> System:
    """The system under a serving engine; as it is where there is none."""
    return system if engine is None else system.under(engine)
