# SPDX-License-Identifier: Apache-2.0
"""``lbctl completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from lb.cli.options import Command

PROGRAM = "lbctl"
COMPLETE_VARIABLE = "_LBCTL_COMPLETE"


@click.command(cls=Command, examples=["lbctl completion bash", "lbctl completion zsh", "lbctl completion fish"])
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the shell's completion script.

    It completes the names of resources too, which it asks lbd for.

    \b
    bash:  eval "$(lbctl completion bash)"    in ~/.bashrc
    zsh:   eval "$(lbctl completion zsh)"     in ~/.zshrc, after compinit
    fish:  lbctl completion fish | source     in ~/.config/fish/config.fish
    """
    complete = get_completion_class(shell)
    assert complete is not None, shell
    root = click.get_current_context().find_root().command
    click.echo(complete(root, {}, PROGRAM, COMPLETE_VARIABLE).source())
