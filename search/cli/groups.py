"""A group of commands that says where an option belongs that was put before its command."""

from __future__ import annotations

from collections.abc import Iterator

import click


class Group(click.Group):
    """click's, which says of an option of a command only that the group has none of that name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = list(args)  # click takes words off the list
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            command = next((word for word in given if word in self.list_commands(ctx)), None)
            for words, option in _options(self, ctx, command):
                if error.option_name in (*option.opts, *option.secondary_opts):
                    flag = option.is_flag or option.count
                    value = "" if flag else f" {option.make_metavar(ctx)}"
                    ctx.fail(
                        f"{error.option_name} is an option of a command; put it after the command, "
                        f"as in `{ctx.command_path} {words} {error.option_name}{value}`"
                    )
            raise


def _options(
    group: click.Group, ctx: click.Context, only: str | None = None
) -> Iterator[tuple[str, click.Option]]:
    """The options of a group's commands, of one or of all, each with the words of its command."""
    for name in group.list_commands(ctx) if only is None else [only]:
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            for words, option in _options(command, ctx):
                yield f"{name} {words}", option
        elif command is not None:
            for one in command.params:
                if isinstance(one, click.Option):
                    yield name, one
