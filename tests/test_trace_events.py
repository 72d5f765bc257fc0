"""Events as bits against plain sums over the values: any shape, any layout in memory, any map of taps."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnenergy.trace import events as e
from snnenergy.trace.arrays import CHUNK, nonzero_columns, scratch
from snnenergy.trace.magnitudes import LATTICE, Magnitudes, grid, levels_of
from snnenergy.trace.sites import Site
from snnenergy.trace.streams import Tally

SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 40))


def values(shape: tuple[int, ...], seed: int, levels: tuple[float, ...]) -> Any:
    rng = np.random.default_rng(seed)
    return rng.choice(np.array((0.0, *levels), dtype=np.float32), shape)


@given(SHAPES, st.integers(0, 999), st.integers(0, 1 << 20), st.booleans())
@settings(max_examples=200, deadline=None)
def test_taps_over_bit_planes_are_the_sums_of_the_map(
    shape: tuple[int, int, int], seed: int, largest: int, everywhere: bool
) -> None:
    _, channels, places = shape
    rng = np.random.default_rng(seed)
    x = values(shape, seed, (1.0, -0.25))
    numbers = rng.integers(0, largest + 1, (channels, places) if everywhere else places).astype(np.int32)
    want = ((x != 0) * np.broadcast_to(numbers, (channels, places)).astype(np.int64)).sum((1, 2))
    by = e.Map(numbers)
    lines = e.events(x)
    for _ in range(3):  # the first few lines are weighed without planes
        assert by.weigh(lines, channels * places).tolist() == want.tolist()
    assert e.counted(lines).tolist() == (x != 0).sum((1, 2)).tolist()


@pytest.mark.parametrize("shape", [(3, 11, CHUNK // 8 + 3), (2, 3, CHUNK + 5), (70_000, 1, 3), (1, CHUNK + 1, 1)])
def test_inputs_larger_than_a_piece_are_put_together_again(shape: tuple[int, int, int]) -> None:
    x = values(shape, 0, (0.5,))
    lines = e.events(x, found := Magnitudes())
    assert e.counted(lines).tolist() == (x != 0).sum((1, 2)).tolist()
    flags = np.unpackbits(lines.view(np.uint8), axis=1, count=shape[1] * shape[2])
    np.testing.assert_array_equal(flags.reshape(shape), x != 0)
    assert found.seen == (0.5,)


@given(SHAPES, st.sampled_from(["as it is", "channels last", "every other", "reversed"]), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_the_layout_in_memory_does_not_matter(shape: tuple[int, int, int], layout: str, seed: int) -> None:
    n, channels, places = shape
    made = values((n, 2 * places, channels) if layout == "every other" else (n, places, channels), seed, (1.0,))
    x = made[:, ::2] if layout == "every other" else made[:, ::-1] if layout == "reversed" else made
    x = np.ascontiguousarray(x.transpose(0, 2, 1)) if layout == "as it is" else x.transpose(0, 2, 1)
    np.testing.assert_array_equal(e.events(x), e.events(x.copy(order="C")))


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=60), st.sampled_from([1.0, 0.25, 0.3]))
@settings(max_examples=200, deadline=None)
def test_sums_of_magnitudes_are_exact(numbers: list[int], unit: float) -> None:
    x = (np.array(numbers, dtype=np.float32) * np.float32(unit)).reshape(1, -1, 1)
    found = Magnitudes()
    e.events(x, found)
    e.events(x, found)
    want = np.abs(x.astype(np.float64)).sum()
    assert found.added(x, (0, 1)).tolist() == pytest.approx([want], rel=1e-15)
    np.testing.assert_allclose(found.columns(x), found.added(x, 1), rtol=1e-15)
    assert set(found.seen) == set(np.abs(x[x != 0]).astype(float).tolist())
    assert found.positive == bool((x > 0).any())
    assert found.negative == bool((x < 0).any())


def test_a_value_off_the_grid_is_seen_among_many_that_lie_on_it() -> None:
    found = Magnitudes()
    x = np.tile(np.array([0, 0.5, 1.0, 1.5], dtype=np.float32), 1000).reshape(1, 1, -1)
    e.events(x, found)
    assert found.seen == (0.5, 1.0, 1.5)
    assert grid(found.seen) == (0.5, 3)
    for other in (2.0, 0.75, -0.5, np.nan):
        strange = x.copy()
        strange[0, 0, 777] = other
        more = Magnitudes(found.seen, positive=True)
        e.events(strange, more)
        assert (more.seen, more.many, more.negative) != (found.seen, False, False)


def test_a_value_too_small_to_be_divided_is_no_multiple() -> None:
    """A quarter of the smallest float32 is zero in float32."""
    x = np.tile(np.array([0, 4, 8, 12], dtype=np.float32), 100).reshape(1, 1, -1)
    found = Magnitudes((4.0, 8.0, 12.0), positive=True)
    e.events(x, found)
    assert list(found.seen) == [4.0, 8.0, 12.0]
    x[0, 0, 77] = tiny = np.float32(1e-45)
    e.events(x, found)
    assert list(found.seen) == [float(tiny), 4.0, 8.0, 12.0]
    few = Magnitudes((float(tiny),), positive=True, negative=True)
    e.events(x, few)
    assert list(few.seen) == [float(tiny), 4.0, 8.0, 12.0]


@pytest.mark.parametrize("features", [5000, 4999, 8191])
def test_what_an_input_says_of_its_stream_is_learnt_when_it_arrives(features: int) -> None:
    """Spikes for many calls, then one call with another value, then spikes again: in whatever words they are held."""
    site, fans = Site("p", "linear"), (e.Fan(3, 1),)
    g = torch.Generator().manual_seed(0)
    calls = [(torch.rand(2, features, generator=g) < 0.2).float() for _ in range(7)]
    calls[4][1, features - 1] = 2.0
    site.begin(1)
    for x in calls:
        site.take(x, fans)
        x.zero_()  # what was read may be overwritten at once
    site.flush()
    g.manual_seed(0)
    again = [(torch.rand(2, features, generator=g) < 0.2).float() for _ in range(7)]
    again[4][1, features - 1] = 2.0
    events = sum(int(x.count_nonzero()) for x in again)
    (tally,) = site.tallies
    assert tally.totals == (events, 3 * events, 3 * events)
    assert tally.magnitudes.seen == (1.0, 2.0)
    assert tally.value_taps == 3 * sum(float(x.sum()) for x in again)
    assert tally.rows[2][0].tolist() == [x.count_nonzero(1).tolist() for x in again]


@pytest.mark.parametrize("features", [40, 5000])
@pytest.mark.parametrize("kind", ["half", "bfloat16", "bool", "complex", "negative view", "needs a gradient"])
def test_inputs_that_numpy_does_not_have_as_they_are(kind: str, features: int) -> None:
    """Each call of which is read once, with calls of floats between them."""
    x = (torch.rand(2, features, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    made = {
        "half": x.half(),
        "bfloat16": x.bfloat16(),
        "bool": x.bool(),
        "complex": torch.complex(x, x).conj(),
        "negative view": torch.complex(x, x).conj().imag,
        "needs a gradient": x.clone().requires_grad_(),
    }[kind]
    site, fans = Site("p", "linear"), (e.Fan(3, 1),)
    site.begin(1)
    for call in (made, made, x, made, x, x):
        site.take(call, fans)
    site.flush()
    events = 6 * int(x.count_nonzero())
    assert site.tallies[0].totals == (events, 3 * events, 3 * events)
    assert site.tallies[0].magnitudes.many == (kind == "complex")
    assert site.tallies[0].magnitudes.negative == (kind == "negative view")


def test_a_wide_image_has_planes_for_one_channel() -> None:
    shape = (2, 3, e.WIDE + 64)
    x, numbers = values(shape, 0, (1.0,)), np.arange(shape[2], dtype=np.int32) % 10
    by = e.Map(numbers)
    for _ in range(2):
        assert by.weigh(e.events(x), shape[1] * shape[2]).tolist() == ((x != 0) * numbers).sum((1, 2)).tolist()
    assert [planes.shape for planes, _ in by._planes.values()] == [(4, shape[2] // 64)]


def test_a_forward_that_is_dropped_takes_its_events_with_it() -> None:
    site, fans = Site("p", "linear"), (e.Fan(3, 1),)
    for forward in (1, 2, 3):
        x = torch.ones(2, 5000)
        x[:, 0] = forward != 2  # the second forward has two events less a call
        site.begin(forward)
        site.take(x, fans)
        site.take(x, fans)
        if forward == 2:
            site.drop()
    site.flush()
    assert site.tallies[0].totals == (40_000, 120_000, 120_000)
    assert site.tallies[0].elements == 40_000


def test_every_thread_has_scratch_of_its_own() -> None:
    found: list[Any] = []
    other = threading.Thread(target=lambda: found.append(scratch((8,))))
    other.start()
    other.join()
    assert not np.shares_memory(found[0], scratch((8,)))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("batch", [2, 400])
def test_a_tally_reads_products_of_activations_by_columns_and_lines(share: float, batch: int) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.random((batch, *size)) < share for size in ((300, 7), (7, 19)))
    tally = Tally()
    assert tally.columns(a.astype(np.float32)).tolist() == a.sum(1).tolist()
    assert tally.lines(b.astype(np.float32)).tolist() == b.sum(2).tolist()
    assert tally.magnitudes.seen == ((1.0,) if share else ())


@given(
    st.sampled_from([1.0, 0.25, 0.3, 1 / 9, 1e-30, 3e38]),
    st.integers(1, 60),
    st.sampled_from([1, 7, LATTICE, LATTICE + 5]),
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_the_levels_of_values_are_found_without_sorting_them(
    unit: float, steps: int, size: int, dtype: type[Any], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    with np.errstate(over="ignore"):
        x = (rng.integers(0, steps + 1, size) * unit).astype(dtype)
    x[np.isinf(x)] = 0
    if seed % 3 == 0:
        x[-1] = 0.77  # which no sample need have
    np.testing.assert_array_equal(levels_of(x), np.unique(x))


@pytest.mark.parametrize("shape", [(1, 0, 3), (2, 5, 1), (3, CHUNK // 40, 70), (1, 2, CHUNK + 1)])
def test_nonzero_weights_are_counted_by_column(shape: tuple[int, int, int]) -> None:
    x = values(shape, 1, (0.5, -2.0, float("nan")))
    np.testing.assert_array_equal(nonzero_columns(x), (x != 0).sum(1))
