"""``completion``: a shell's script that completes commands, options and their values."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path

from themo.cli.options import Parser
from themo.process.output import print_result

PROGRAM = "themo"
"""The installed program."""
_OF_MODULE = Path(__file__).parents[1] / "shells"
"""Scripts that complete ``python -m themo``, which shells see as arguments of Python."""
SUMMARY = "Print a shell script that completes commands, options and values."
EXAMPLES = """\
  source <(themo completion bash)                                   in ~/.bashrc
  source <(themo completion zsh)                                    in ~/.zshrc
  themo completion fish > ~/.config/fish/conf.d/themo.fish
"""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="shell of the script")


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command."""
    from argcomplete.shell_integration import shellcode

    of_module = (_OF_MODULE / f"module.{options.shell}").read_text(encoding="utf-8")
    print_result(shellcode([PROGRAM], shell=options.shell) + of_module.rstrip("\n"))


def answer(parser: argparse.ArgumentParser) -> None:
    """Print the completions that a shell asked for, and exit."""
    import argcomplete

    argcomplete.autocomplete(parser, always_complete_options="long")
