"""The commands, a module each.

A module of a command says what it does in ``SUMMARY`` and ``EXAMPLES``, declares its options in
``add_options(parser)``, in groups with a title, and does its work in ``run(options, resume_hint)``. It puts
into `resume_hint` the command to go on with after an interruption, where that is another than itself, or
empties it where there is none. It imports heavy libraries inside `run`: `--help` answers in under a second.
One with a screenful of options says how it is called in ``USAGE``.
"""

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
