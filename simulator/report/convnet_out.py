"""``chipsim model`` of a convolutional network: JSON document and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.model.convnet import ConvNet
from simulator.report.console import make_table, show
from simulator.report.figures import scaled
from simulator.report.model_json import SCHEMA

if TYPE_CHECKING:
    from rich.console import Console


def convnet_json(model: ConvNet) -> dict[str, Any]:
    """The document ``chipsim.model/1``; an image stands in the place of a token."""
    return {
        "schema": SCHEMA,
        "name": model.name,
        "architecture": "convnet",
        "parameters": model.parameters,
        "active_parameters": model.parameters,
        "matmul_parameters": model.matmul_parameters,
        "kv_bytes_per_token": 0,
        "flops_per_token": model.flops(1),
        "layers": [
            {
                "name": x.name,
                "repeat": x.repeat,
                "kernel": x.kernel,
                "inputs": x.inputs,
                "outputs": x.outputs,
                "size": x.size,
                "parameters": x.weights + x.vectors,
                "operators": [
                    {
                        "name": x.name,
                        "kind": "matmul",
                        "rows_per_image": x.rows,
                        "k": x.k,
                        "n": x.outputs,
                        "parameters": x.weights,
                    }
                ],
            }
            for x in model.convolutions
        ],
    }


def print_convnet(model: ConvNet, console: Console) -> None:
    """Figures, and the convolutions with their matmuls."""
    show(console, f"{model.name}: {sum(x.repeat for x in model.convolutions)} convolutions")
    figures = [
        ("parameters", scaled(model.parameters, ""), "weights, scales and shifts, biases"),
        (
            "FLOPs an image",
            scaled(model.flops(1), "FLOP"),
            "2 x rows x k x n, summed over the matmuls below",
        ),
    ]
    heads = ("figure", "value", "<how it comes about")
    show(console, make_table(console, "Figures", heads, figures))
    rows = [
        (
            x.name,
            str(x.repeat),
            f"{x.kernel} x {x.kernel} x {x.inputs:,}",
            f"{x.size} x {x.size} x {x.outputs:,}",
            f"{x.rows}x{x.k}x{x.outputs}",
            scaled(x.weights, ""),
        )
        for x in model.convolutions
    ]
    names = ("convolution", "number", "<kernel", "<result", "<matmul MxKxN an image", "weights")
    show(console, make_table(console, "Convolutions", names, rows))
