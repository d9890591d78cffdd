"""Fast formatting of a table of numbers with a fixed number of decimals.

Thousands of people have hundreds of millions of numbers: printing them one by one takes longer than making them.
"""

from __future__ import annotations

import numpy as np

_ZERO, _MINUS, _POINT, _TAB, _NEWLINE = b"0-.\t\n"


def fixed_point(values_VC: np.ndarray, decimals: int = 4) -> bytes:
    r"""Return numbers as tab-separated lines.

    Parameters
    ----------
    values_VC : (V, C) float
        Finite, and below 1e14 when `decimals` is 4.
    decimals : int
        At least 1.

    Examples
    --------
    >>> fixed_point(np.array([[1.5, -0.04], [-0.001, 12.0]]), 2)
    b'1.50\t-0.04\n0.00\t12.00\n'
    """
    scaled = np.rint(values_VC.ravel() * 10.0**decimals)
    if not np.isfinite(scaled).all():
        raise AssertionError("a number to print is not finite")
    rest = np.abs(scaled).astype(np.int64)
    num_whole = max(1, len(str(int(rest.max(initial=0)))) - decimals)
    width = 1 + num_whole + 1 + decimals + 1
    text = np.empty((len(rest), width), dtype=np.uint8)
    shown = np.ones((len(rest), width), dtype=bool)
    text[:, 0], shown[:, 0] = _MINUS, scaled < 0
    text[:, 1 + num_whole] = _POINT
    for place in range(num_whole):  # a leading zero is shown before the point only
        shown[:, 1 + place] = (rest >= 10 ** (decimals + num_whole - 1 - place)) | (place == num_whole - 1)
    if rest.max(initial=0) < 2**31:
        rest = rest.astype(np.int32)  # dividing these is several times as fast
    for column in [*range(width - 2, 1 + num_whole, -1), *range(num_whole, 0, -1)]:
        tens = rest // 10  # much faster than divmod, which is not vectorised
        text[:, column] = rest - 10 * tens + _ZERO
        rest = tens
    text[:, -1] = _TAB
    text.reshape(*values_VC.shape, width)[:, -1, -1] = _NEWLINE
    return text[shown].tobytes()
