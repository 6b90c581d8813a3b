"""The commands, one module each.

A command's module describes the command in ``SUMMARY`` and ``EXAMPLES``, declares options in titled groups in
``add_options(parser)`` and does the work in ``run(options, resume_hint)``. `resume_hint` holds the command
that resumes after an interruption: `run` replaces it, or empties it if nothing can be resumed. Heavy
libraries are imported inside `run`, so that `--help` takes under a second. ``USAGE`` replaces a usage line of
many options.
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
"""Names of the commands, in the order of `--help`."""


def load_checked(options: Namespace) -> Settings:
    """Return the settings of a preset or file with options on top, checked for training.

    Raises:
        InputError: A setting is wrong, or the miniature's teacher would teach an own corpus because no preset
            or file was named.
    """
    settings = load(options.config, options.preset, options.settings)
    if options.config is None and options.preset is None:
        refuse_toy_teacher(settings)
    return settings
