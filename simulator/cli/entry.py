"""The entry point: which commands there are, and how each kind of failure ends the process."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from simulator.cli.lazy_group import LazyCommand, LazyGroup
from simulator.cli.start import INTERRUPTED, interrupted
from simulator.errors import ChipsimError, InputError

PIPE_CLOSED = 141

COMMANDS = {
    "run": LazyCommand(
        "simulator.cli.run_command:run", "Replay request traffic: latency, throughput, limits."
    ),
    "capacity": LazyCommand(
        "simulator.cli.capacity_command:capacity", "Highest rate, or fewest replicas, for an SLO."
    ),
    "serve-curve": LazyCommand(
        "simulator.cli.serve_curve_command:serve_curve",
        "Tokens/s of a chip against tokens/s of a user.",
    ),
    "step": LazyCommand(
        "simulator.cli.step_command:step", "Price one prefill or decode step, operator by operator."
    ),
    "op": LazyCommand("simulator.cli.op_command:op", "Price one operator, or a file of them."),
    "systolic": LazyCommand(
        "simulator.cli.systolic_command:systolic", "Cycles of a matmul on a bare systolic array."
    ),
    "memory": LazyCommand(
        "simulator.cli.memory_command:memory", "Bandwidth of a DRAM under an access pattern."
    ),
    "collective": LazyCommand(
        "simulator.cli.collective_command:collective", "Price a collective on a system's fabric."
    ),
    "fabric": LazyCommand(
        "simulator.cli.fabric_command:fabric", "A slice's cubes, links and failures, drawn."
    ),
    "layout": LazyCommand(
        "simulator.cli.layout_command:layout", "The fastest layouts of a model on a system."
    ),
    "model": LazyCommand(
        "simulator.cli.model_command:model", "A model's parameters, KV bytes, FLOPs and shapes."
    ),
    "validate": LazyCommand(
        "simulator.cli.validate_command:validate", "Compare prices with measured hardware."
    ),
    "calibrate": LazyCommand(
        "simulator.cli.calibrate_command:calibrate", "Fit a chip's parameters to measurements."
    ),
    "config": LazyCommand(
        "simulator.cli.config_command:config", "List, show and check chips, systems and models."
    ),
    "trace": LazyCommand(
        "simulator.cli.trace_command:trace", "Describe a trace file, or generate one."
    ),
}

EPILOG = """\b
Examples:
  chipsim run tpu-v6e llama3-8b chat
  chipsim run h100:8 llama3-70b --trace requests.csv --assert 'ttft_p99<300ms'
  chipsim step tpu-v6e llama3-8b --phase decode --batch 32 --context 2048
  chipsim op matmul 4096x4096x4096 --chip h100 --dtype fp8
  chipsim config list
"""


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from simulator.report.versions import chipsim_version

        click.echo(f"chipsim {chipsim_version()}")
        ctx.exit()


@click.group(
    "chipsim",
    cls=LazyGroup,
    lazy_commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
def cli() -> None:
    """Simulate AI accelerators: how long it takes, what was busy, what was the limit.

    A system (chips and the fabric between them), a model and a workload go in; latency,
    throughput, utilization and the limit of each unit come out.
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line: ``simulator.cli.start.main`` after its imports.

    Args:
        args: the words after the command's name; those of the process where None.

    Returns:
        The exit status, as listed in ``simulator.cli``.
    """
    # typeshed has no None here, but the interpreter has where the descriptor is closed
    out: TextIO | None = sys.stdout
    if out is None:
        return _fail(
            "standard output is closed: the result has nowhere to go", InputError.exit_code
        )
    if sys.stderr is None:  # closed as well: what is said there is for nobody
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    _accept_any_character()
    words = list(sys.argv[1:] if args is None else args)
    try:
        status = _dispatch(words)
        out.flush()
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        _silence_stdout()
        return PIPE_CLOSED
    except OSError as error:
        _silence_stdout()
        return _fail(_describe(error), InputError.exit_code)
    return status


def _dispatch(words: list[str]) -> int:
    """Parse and call; click's own ``main`` is passed by, as it turns Ctrl-C and EPIPE into 1."""
    try:
        with cli.make_context("chipsim", words) as ctx:
            cli.invoke(ctx)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        return _fail("interrupted", INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        # the command that was named without anything after it: its help is the best answer
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        return _fail(_describe_grammar(error), error.exit_code)
    except ChipsimError as error:
        return _fail(str(error), error.exit_code)
    except RecursionError:
        return _fail("the input is nested too deeply", InputError.exit_code)
    except MemoryError as error:
        what = f": {error}" if str(error) else ""
        return _fail(f"not enough memory for this input{what}", InputError.exit_code)
    return 0


def _fail(message: str, status: int) -> int:
    """Print one error on stderr; a stderr that is gone changes nothing about the status.

    After Ctrl-C whatever failed is its consequence.
    """
    if interrupted():
        message, status = "interrupted", INTERRUPTED
    with contextlib.suppress(OSError):
        click.echo(f"error: {message}", err=True)
    return status


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename is not None else reason


def _describe_grammar(error: click.ClickException) -> str:
    message = error.format_message()
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is None:
        return message
    return f"{message}\n   = {ctx.get_usage()}\n   = try '{ctx.command_path} --help'"


def _accept_any_character() -> None:
    """Names that the terminal's encoding cannot show are escaped instead of ending the run."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _silence_stdout() -> None:
    """Let the interpreter's own flush at exit go nowhere instead of failing again."""
    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
    except (OSError, ValueError):
        pass
