"""``chipsim model``: what a model is made of and what a token costs in it."""

from __future__ import annotations

import click

from simulator.cli.once import OnceCommand
from simulator.cli.options import check_override_roots, format_option, overrides_for, set_option
from simulator.cli.values import NameText, OneOf, Whole


@click.command("model", cls=OnceCommand)
@click.argument("model_name", metavar="MODEL", type=NameText())
@click.option(
    "--context",
    type=Whole(),
    help="Tokens in the cache: gives the KV cache of a sequence, and FLOPs with its attention.",
)
@click.option(
    "--kv-dtype",
    type=OneOf("bf16", "fp8", "int8", "fp4"),
    default="bf16",
    show_default=True,
    help="Data type of the KV cache.",
)
@set_option
@format_option
def model(
    model_name: str,
    context: int | None,
    kv_dtype: str,
    overrides: tuple[str, ...],
    output_format: str,
) -> None:
    """Parameters, KV bytes and FLOPs a token, and the shapes of every layer of MODEL.

    MODEL is a name, a model file, or a Hugging Face config.json.

    \b
    Examples:
      chipsim model deepseek-v3
      chipsim model gpt-oss-120b --context 32768 --format json
      chipsim model resnet-50
    """
    check_override_roots(overrides, ("model",))
    from simulator.cli.output import emit
    from simulator.config.loader import load_any_model
    from simulator.errors import InputError
    from simulator.model.convnet import ConvNet

    found = load_any_model(model_name, overrides_for(overrides, "model"))
    if isinstance(found, ConvNet):
        from simulator.report.convnet_out import convnet_json, print_convnet

        if context is not None:
            raise InputError(f"--context: {found.name} is a convolutional network, it has none")
        emit(output_format, convnet_json(found), lambda console: print_convnet(found, console))
        return
    from simulator.report.model_json import ModelFigures, model_json
    from simulator.report.model_table import print_model

    if context is not None and context > found.max_context:
        raise InputError(
            f"--context {context} is beyond the {found.max_context} tokens that "
            f"{found.name} supports"
        )
    asked = ModelFigures(found, context or 0, kv_dtype)
    emit(output_format, model_json(asked), lambda console: print_model(asked, console))
