"""The commands, one module each.

A command's module describes the command in ``SUMMARY`` and ``EXAMPLES``, declares options in titled groups in
``add_options(parser)`` and does the work in ``run(options, resume_hint)``. `resume_hint` holds the command
to type after an interruption: `run` replaces it, or empties it if nothing can be resumed. Heavy
libraries are imported inside `run`, so that `--help` takes under a second. ``USAGE`` replaces a usage line of
many options.
"""

NAMES = (
    "prepare",
    "train",
    "test",
    "tune",
    "status",
    "why",
    "report",
    "search",
    "export",
    "send",
    "completion",
)
"""Names of the commands, in the order of `--help`."""
