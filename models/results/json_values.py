"""Converts values to values that JSON can represent."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np


def json_value(item: Any) -> Any:
    r"""A value that JSON can represent: numbers that are not finite are null, and bytes that are not text are base64.

    Example:
      >>> [json_value(one) for one in (1.5, float("nan"), b"a", b"\xff")]
      [1.5, None, 'a', {'base64': '/w=='}]
    """
    if isinstance(item, np.generic):
        item = float(item) if isinstance(item, np.longdouble) else item.item()
    if isinstance(item, float) and not math.isfinite(item):
        return None
    if isinstance(item, bytes):
        try:
            return item.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(item).decode()}
    return item
