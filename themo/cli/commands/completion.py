"""``completion``: a shell's script that completes commands, options and their values."""

from __future__ import annotations

import argparse
from argparse import Namespace

from themo.cli.options import Parser
from themo.process.output import print_result

PROGRAM = "themo"
"""The installed program: a shell completes ``python -m themo`` as Python's arguments."""
SUMMARY = "Print a shell script that completes commands, options and values."
EXAMPLES = """\
  source <(themo completion bash)                                   in ~/.bashrc
  source <(themo completion zsh)                                    in ~/.zshrc
  themo completion fish > ~/.config/fish/completions/themo.fish
"""


def add_options(parser: Parser) -> None:
    """Add the command's options."""
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), help="shell of the script")


def run(options: Namespace, _resume_hint: list[str]) -> None:
    """Run the command."""
    from argcomplete.shell_integration import shellcode

    print_result(shellcode([PROGRAM], shell=options.shell))


def answer(parser: argparse.ArgumentParser) -> None:
    """Print the completions that a shell asked for, and exit."""
    import argcomplete

    argcomplete.autocomplete(parser, always_complete_options="long")
