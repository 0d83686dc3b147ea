"""The class of every command: an option that takes one value is given once."""

from __future__ import annotations

from collections import Counter

import click


class OnceCommand(click.Command):
    """A command that refuses what click would settle silently in favour of the last one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As in click.

        Raises:
            click.UsageError: an option of one value is given twice, or on and off at once.
        """
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(list(args))
            given = Counter(param for param in order if _holds_one_value(param))
            for param, times in given.items():
                if times > 1:
                    name = max(param.opts, key=len)
                    raise click.UsageError(f"{name} is given {times} times, expected once", ctx)
        return super().parse_args(ctx, args)


def _holds_one_value(param: click.Parameter) -> bool:
    """Whether only the last of several would count; a plain flag means the same each time."""
    if not isinstance(param, click.Option) or param.multiple or param.count:
        return False
    return not param.is_flag or bool(param.secondary_opts)
