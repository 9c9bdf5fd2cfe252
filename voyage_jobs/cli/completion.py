"""`voyage-jobs completion`: the script by which a shell completes commands, options and file names."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_VOYAGE_JOBS_COMPLETE"
"""Set by the script when it asks; click looks for it under this name."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script by which Tab completes commands, options and file names in your shell.

    Write it to this file, as in `voyage-jobs completion bash > FILE`:

    \b
    bash  ~/.local/share/bash-completion/completions/voyage-jobs
          without the bash-completion package, in ~/.bashrc:
          eval "$(voyage-jobs completion bash)"
    zsh   ~/.zfunc/_voyage-jobs
          with, in ~/.zshrc: fpath+=~/.zfunc; autoload -Uz compinit && compinit
    fish  ~/.config/fish/completions/voyage-jobs.fish
    """
    kind = get_completion_class(shell)
    if kind is None:  # pragma: no cover - click knows all three
        raise AssertionError(shell)
    script = kind(click.Command("voyage-jobs"), {}, "voyage-jobs", VARIABLE)
    # Not `source()`, which asks the bash at hand for its version: the script may be meant for another machine.
    click.echo(kind.source_template % script.source_vars())
