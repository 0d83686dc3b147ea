"""How a model is spread over the chips of one replica: the degrees of every kind of parallelism."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Weights = Literal["stationary-1d", "stationary-2d", "gathered"]
WEIGHTS: tuple[Weights, ...] = ("stationary-1d", "stationary-2d", "gathered")


@dataclass(frozen=True, slots=True)
class Layout:
    """Degrees of parallelism, separately for attention and feed-forward networks.

    Attention: heads are cut ``tp`` ways, sequences are shared by ``dp`` ranks, and ``sp`` ranks
    share the keys of each sequence (context parallelism). Feed-forward networks: ``ffn_tp`` ranks
    cut the intermediate width, ``ep`` ranks share the experts, and tokens are shared by ``ep`` x
    ``ffn_dp`` ranks. Both cover the same chips of a pipeline stage; ``pp`` stages share the layers,
    and ``micro_batches`` parts of the batch follow each other through them.

    ``weights`` names the layouts of Pope et al. (arXiv 2211.05102, section 3.2): matrices cut along
    one dimension and kept, cut along both (``grid_x`` ways along hidden), or gathered by every chip
    before use. ``pad_heads`` adds heads of zeros until ``tp`` divides them. ``redundant_experts``
    are second copies of the busiest experts, until ``ep`` divides all of them (DeepSeek-V3, arXiv
    2412.19437, section 3.4).
    """

    tp: int = 1
    dp: int = 1
    sp: int = 1
    ffn_tp: int = 1
    ep: int = 1
    ffn_dp: int = 1
    pp: int = 1
    micro_batches: int = 1
    weights: Weights = "stationary-1d"
    grid_x: int = 1
    pad_heads: bool = False
    redundant_experts: int = 0

    @property
    def stage(self) -> int:
        """Chips of one pipeline stage."""
        return self.tp * self.dp * self.sp

    @property
    def chips(self) -> int:
        """Chips of one replica."""
        return self.stage * self.pp

    @property
    def token_shards(self) -> int:
        """Into how many parts the tokens are cut outside of feed-forward networks."""
        return self.dp * self.sp

    @property
    def ffn_shards(self) -> int:
        """Into how many parts the tokens are cut in feed-forward networks."""
        return self.ep * self.ffn_dp

    @property
    def text(self) -> str:
        """The canonical short form, such as ``attention tp 8 dp 8, experts ep 64, pp 1``."""
        attention = _degrees(tp=self.tp, dp=self.dp, sp=self.sp)
        ffn = _degrees(tp=self.ffn_tp, ep=self.ep, dp=self.ffn_dp)
        what = "experts" if self.ep > 1 else "ffn"
        if self.redundant_experts:
            ffn += f" redundant {self.redundant_experts}"
        parts = [f"attention {attention}", f"{what} {ffn}", f"pp {self.pp}"]
        if self.micro_batches > 1:
            parts.append(f"micro-batches {self.micro_batches}")
        if self.weights == "stationary-2d":
            parts.append(f"weights stationary-2d {self.grid_x}x{self.stage // self.grid_x}")
        elif self.weights == "gathered":
            parts.append("weights gathered")
        if self.pad_heads:
            parts.append("heads padded")
        return ", ".join(parts)

    def as_dict(self) -> dict[str, int | str | bool]:
        """The degrees by name, for reports."""
        return {
            "text": self.text,
            "tp": self.tp,
            "dp": self.dp,
            "sp": self.sp,
            "ffn_tp": self.ffn_tp,
            "ep": self.ep,
            "ffn_dp": self.ffn_dp,
            "pp": self.pp,
            "micro_batches": self.micro_batches,
            "weights": self.weights,
            "grid_x": self.grid_x,
            "pad_heads": self.pad_heads,
            "redundant_experts": self.redundant_experts,
        }


def tensor_parallel(degree: int) -> Layout:
    """Everything cut ``degree`` ways, as in Megatron-LM."""
    return Layout(tp=degree, ffn_tp=degree)


def _degrees(**degrees: int) -> str:
    """The degrees above 1, or tp 1 where there are none."""
    kept = [f"{name} {degree}" for name, degree in degrees.items() if degree > 1]
    return " ".join(kept) or "tp 1"
