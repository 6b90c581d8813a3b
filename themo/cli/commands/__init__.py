"""The commands, a module each.

A module of a command says what it does in ``SUMMARY`` and ``EXAMPLES``, declares its options in
``add_options(parser)``, in groups with a title, and does its work in ``run(options, resume_hint)``. It puts
into `resume_hint` the command to go on with after an interruption, where that is another than itself, or
empties it where there is none. It imports heavy libraries inside `run`: `--help` answers in under a second.
One with a screenful of options says how it is called in ``USAGE``.
"""

from argparse import Namespace

from themo.config.settings import Settings, load
from themo.config.worlds import refuse_toy_teacher

NAMES = (
    "prepare",
    "train",
    "test",
    "tune",
    "status",
    "report",
    "search",
    "export",
    "send",
    "completion",
)
"""In the order of `--help`."""


def load_checked(options: Namespace) -> Settings:
    """Settings of a preset or a file, with options on top, for a command that trains or prepares to.

    Raises:
        InputError: All problems in one line, or an own corpus would be learnt from the miniature's teacher
            and no preset or file was named.
    """
    settings = load(options.config, options.preset, options.settings)
    if options.config is None and options.preset is None:
        refuse_toy_teacher(settings)
    return settings
