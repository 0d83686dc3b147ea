"""The public entry: ``simulate``, ``price_step``, ``price_matmul``, and the loaders they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simulator.config.loader import load_chip, load_group, load_model, load_system
from simulator.config.workload_loader import load_workload
from simulator.fabric.collectives import CollectiveTiming, price_collective
from simulator.hardware import Chip, System
from simulator.hardware.fabric import Fabric
from simulator.model.transformer import Transformer
from simulator.serving.cluster import ServingOptions, replay
from simulator.serving.results import RunResult
from simulator.timing import attention_operator, moe_operator
from simulator.timing import operator as operators
from simulator.timing import step as steps
from simulator.timing.attention_operator import AttentionCase
from simulator.timing.moe_operator import MoeCase
from simulator.timing.operator_timing import OperatorTiming
from simulator.timing.plan import Dtypes, make_plan
from simulator.timing.results import CopyTiming, MatmulTiming, StepTiming
from simulator.workload.generate import generate
from simulator.workload.request import Workload
from simulator.workload.spec import WorkloadSpec
from simulator.workload.traces import read_trace

__all__ = [
    "AttentionCase",
    "CollectiveTiming",
    "MoeCase",
    "generate",
    "load_chip",
    "load_model",
    "load_system",
    "load_workload",
    "price_attention",
    "price_attentions",
    "price_collective",
    "price_copies",
    "price_matmul",
    "price_matmuls",
    "price_moe",
    "price_moes",
    "price_step",
    "read_trace",
    "simulate",
]


def simulate(
    system: System | str,
    model: Transformer | str,
    workload: Workload | WorkloadSpec | str,
    *,
    tp: int | None = None,
    weight_dtype: str = "bf16",
    activation_dtype: str = "bf16",
    kv_dtype: str = "bf16",
    max_batch: int = 256,
    token_budget: int = 8192,
    seed: int = 0,
    warmup_s: float = 0.0,
    record_iterations: bool = False,
    progress: Callable[[float], None] | None = None,
) -> RunResult:
    """Replay a workload on a system and report latency, throughput, utilization and cost.

    ``system``, ``model`` and ``workload`` are specifications or names. ``tp`` is the degree of
    tensor parallelism (all chips unless given); chips / tp replicas share the requests. At most
    ``max_batch`` sequences and ``token_budget`` tokens go into an iteration. Requests that arrive
    in the first ``warmup_s`` seconds are left out of the statistics. ``progress`` is called with
    the fraction that is done.

    Raises InputError for unknown names and bad values, InfeasibleError where the model does not
    fit.
    """
    plan = make_plan(
        load_system(system) if isinstance(system, str) else system,
        load_model(model) if isinstance(model, str) else model,
        tp=tp,
        dtypes=Dtypes(weight_dtype, activation_dtype, kv_dtype),
    )
    spec = load_workload(workload) if isinstance(workload, str) else workload
    traffic = generate(spec, seed=seed) if isinstance(spec, WorkloadSpec) else spec
    options = ServingOptions(max_batch, token_budget, warmup_s, seed, record_iterations)
    return replay(plan, traffic, options, progress)


def price_step(
    system: System | str,
    model: Transformer | str,
    *,
    phase: str,
    batch: int,
    context: int,
    tp: int | None = None,
    weight_dtype: str = "bf16",
    activation_dtype: str = "bf16",
    kv_dtype: str = "bf16",
) -> StepTiming:
    """Price one iteration: ``batch`` prompts of ``context`` tokens (prefill), or one token for
    each of ``batch`` sequences that have ``context`` tokens cached (decode).

    Raises InputError for unknown names and bad values, InfeasibleError where it does not fit HBM.
    """
    plan = make_plan(
        load_system(system) if isinstance(system, str) else system,
        load_model(model) if isinstance(model, str) else model,
        tp=tp,
        dtypes=Dtypes(weight_dtype, activation_dtype, kv_dtype),
    )
    return steps.price_step(plan, phase=phase, batch=batch, context=context)


def price_matmul(
    chip: Chip | str,
    m: int,
    k: int,
    n: int,
    dtype: str = "bf16",
    *,
    rotating_buffers: int = 0,
    quantize: bool = False,
) -> MatmulTiming:
    """Price C[m,n] = A[m,k] B[k,n] on one chip, with operands and result in HBM.

    ``rotating_buffers`` reproduces a benchmark that cycles through so many copies of B: what the
    L2 of a GPU keeps of them does not come from HBM. ``quantize`` adds, before an 8-bit matmul on a
    GPU, the kernel that scales the activations from 16 bits.

    Raises InputError for bad sizes or a dtype without a rate, InfeasibleError where no tile fits.
    """
    case = (m, k, n, dtype)
    return price_matmuls(chip, [case], rotating_buffers=rotating_buffers, quantize=quantize)[0]


def price_matmuls(
    chip: Chip | str,
    cases: Sequence[tuple[int, int, int, str]],
    *,
    rotating_buffers: int = 0,
    quantize: bool = False,
) -> list[MatmulTiming]:
    """Price many matmuls (m, k, n, dtype) on one chip; see ``price_matmul``."""
    machine = load_chip(chip) if isinstance(chip, str) else chip
    return operators.price_matmuls(
        machine, cases, rotating_buffers=rotating_buffers, quantize=quantize
    )


def price_copies(chip: Chip | str, sizes: Sequence[int]) -> list[CopyTiming]:
    """Price copies inside the HBM of one chip: so many bytes are read, and as many written.

    Raises InputError for a size that is not positive or beyond the kernels' range.
    """
    return operators.price_copies(load_chip(chip) if isinstance(chip, str) else chip, sizes)


def price_attention(chip: Chip | str, case: AttentionCase) -> OperatorTiming:
    """Price attention over one batch on one chip; see ``price_attentions``."""
    return price_attentions(chip, [case])[0]


def price_attentions(chip: Chip | str, cases: Sequence[AttentionCase]) -> list[OperatorTiming]:
    """Price attention over many independent batches on one chip.

    Raises InputError for sizes out of range, heads that do not divide, or a dtype without a rate.
    """
    return attention_operator.price_attentions(
        load_chip(chip) if isinstance(chip, str) else chip, cases
    )


def price_moe(chip: Chip | str, case: MoeCase, fabric: Fabric | None = None) -> OperatorTiming:
    """Price one layer of routed experts on the busiest chip of its group; see ``price_moes``."""
    return price_moes(chip, [case], fabric)[0]


def price_moes(
    chip: Chip | str, cases: Sequence[MoeCase], fabric: Fabric | None = None
) -> list[OperatorTiming]:
    """Price many layers of routed experts on one chip of a group that ``fabric`` connects.

    Where ``chip`` is a name and there is no ``fabric``, experts on several chips are connected as
    in the system of that name with as many chips.

    Raises InputError for sizes out of range, experts that do not divide over the chips, a bad
    expert load, a dtype without a rate, or no fabric for several chips.
    """
    if not isinstance(chip, str):
        return moe_operator.price_moes(chip, cases, fabric)
    loaded = load_chip(chip)
    if fabric is not None:
        return moe_operator.price_moes(loaded, cases, fabric)
    results: dict[int, OperatorTiming] = {}
    for ep in sorted({case.ep if case.exchange else 1 for case in cases}):
        of_group = [i for i, case in enumerate(cases) if (case.ep if case.exchange else 1) == ep]
        group = load_group(chip, ep) if ep > 1 else None
        priced = moe_operator.price_moes(loaded, [cases[i] for i in of_group], group)
        results |= dict(zip(of_group, priced, strict=True))
    return [results[i] for i in range(len(cases))]
