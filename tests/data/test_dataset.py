from pathlib import Path

import numpy as np

from themo.data.batches import plan_epoch
from themo.data.dataset import EncodedPairs, TrainingData


def test_pairs_an_epoch_are_those_of_the_plan() -> None:
    parts = ((100, 0.29),)  # 28.999999999999996 as floating-point numbers
    pairs = EncodedPairs(Path("nosuch"), Path("nosuch.npy"))
    plan = plan_epoch(np.full(100, 7, dtype=np.uint16), 16, 0, 0, parts)
    assert TrainingData(pairs, pairs, "backbone", parts=parts).pairs_an_epoch == sum(map(len, plan)) == 29
