import json
import re

import torch

from themo import __version__
from themo.checkpoints.environment import commit, describe


def test_describes_versions_and_machine() -> None:
    facts = describe(torch.device("cpu"), torch.bfloat16)
    assert facts["themo"] == __version__
    assert facts["torch"] == torch.__version__
    assert facts["precision"] == "bfloat16"
    assert str(facts["device"]).startswith("cpu (")
    assert facts["threads"] == torch.get_num_threads()
    json.dumps(facts)


def test_commit_is_a_commit_or_empty() -> None:
    assert re.fullmatch(r"([0-9a-f]{10,}\+?)?", commit())
