"""Creates a model repository for Triton: `python examples/triton/train.py FOLDER`.

It contains one model, `wine`, a scikit-learn random forest in ONNX that rates wines; `model.py` in this folder runs it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestRegressor

from beam_pipeline.publishing.wine_data import read_wines

HERE = Path(__file__).parent


def main() -> None:
    """Trains the forest, and saves it where Triton looks for version 1."""
    folder = Path(sys.argv[1]) / "wine"
    version = folder / "1"
    version.mkdir(parents=True, exist_ok=True)
    wines = read_wines()
    measures = np.array([wine.measures for wine in wines], np.float32)
    forest = RandomForestRegressor(50, max_depth=8, random_state=1).fit(measures, [wine.quality for wine in wines])
    (version / "forest.onnx").write_bytes(to_onnx(forest, measures[:1]).SerializeToString())
    shutil.copy(HERE / "model.py", version)
    shutil.copy(HERE / "config.pbtxt", folder)
    print(f"1 model saved in {folder}")


if __name__ == "__main__":
    main()
