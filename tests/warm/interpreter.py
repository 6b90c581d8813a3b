"""`python`, whose Ray clusters take their processes from the server: `python interpreter.py ARGUMENTS`.

The program itself runs in a new interpreter, in the process group of its parent.
"""

import os
import sys
from pathlib import Path

import changes  # the files beside this one
import python
import server

if __name__ == "__main__":
    sys.path.pop(0)  # this folder
    changes.begin_by_python()
    changes.keep_files_in_the_cache()
    changes.ease_databases(Path(os.environ[python.SERVER]).with_name("tables.db"))
    server.execute(sys.argv[1:])
