"""Ways in which a file can be broken, as a strategy: the same for the readers of a cohort's files and of shards."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Damage = Callable[[bytes], bytes]


def whole(content: bytes) -> bytes:
    """Leave a file as it is: it must be read."""
    return content


def _cut(share: float) -> Damage:
    return lambda content: content[: int(share * len(content))]


def _flipped(places: list[tuple[float, int]]) -> Damage:
    def flip(content: bytes) -> bytes:
        changed = bytearray(content)
        for share, bits in places:
            changed[min(int(share * len(changed)), len(changed) - 1)] ^= bits
        return bytes(changed)

    return flip


def _inserted(share: float, more: bytes) -> Damage:
    return lambda content: content[: (at := int(share * len(content)))] + more + content[at:]


def _overwritten(share: float, value: int, num_bytes: int) -> Damage:
    def overwrite(content: bytes) -> bytes:
        at = int(share * len(content))
        return content[:at] + bytes([value]) * min(num_bytes, len(content) - at) + content[at + num_bytes :]

    return overwrite


_SHARE = st.floats(0, 1, exclude_max=True)
_EARLY = _SHARE.map(lambda share: share**3)  # headers stand at the beginning, and are small
_PLACE = st.one_of(_SHARE, _EARLY)
DAMAGES: st.SearchStrategy[Damage] = st.one_of(
    _PLACE.map(_cut),
    st.lists(st.tuples(_PLACE, st.integers(1, 255)), min_size=1, max_size=5).map(_flipped),
    st.builds(_inserted, _PLACE, st.one_of(st.binary(min_size=1, max_size=9), st.sampled_from(
        [b"\n", b"\t", b"\0", b"\xff\xfe", b"nan", b"inf", b"1e999", b"-", b"9" * 30, b"{", b"]", b'"', b"\xc3"]))),
    st.builds(_overwritten, _PLACE, st.sampled_from([0, 255, 127, 48]), st.integers(1, 64)),
    st.sampled_from([whole, lambda _: b"", lambda content: content * 2, lambda content: content[::-1],
                     lambda content: content.decode("latin-1").encode("utf-16")]),
)  # fmt: skip


def cases(number: int) -> settings:
    """Try so many cases, the same ones each time."""
    return settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
