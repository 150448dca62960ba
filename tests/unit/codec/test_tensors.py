import numpy as np
import pytest

from p2pfl.codec.tensors import Dtype, is_finite, payload_of, vector_of
from p2pfl.types import Vector


def there_and_back(vector: Vector, dtype: Dtype) -> Vector:
    return vector_of(payload_of(vector, dtype), dtype)


def slow_bfloat16(number: float) -> float:
    """Round to nearest, ties to even, by comparing the two neighbours in exact arithmetic."""
    bits = int(np.float32(number).view(np.uint32))
    below = np.uint32(bits & 0xFFFF0000)
    above = np.uint32((bits & 0xFFFF0000) + 0x10000)
    low, high = float(below.view(np.float32)), float(above.view(np.float32))
    if abs(number - low) == abs(high - number):
        return low if (bits >> 16) & 1 == 0 else high
    return low if abs(number - low) < abs(high - number) else high


def test_bfloat16_rounds_to_nearest_even() -> None:
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF, 0xBF808000], np.uint32)
    vector = bits.view(np.float32)
    expected = np.array([0x3F800000, 0x3F820000, 0x3F810000, 0x3F800000, 0xBF800000], np.uint32)
    np.testing.assert_array_equal(there_and_back(vector, "bfloat16").view(np.uint32), expected)


def test_bfloat16_equals_the_slow_rounding() -> None:
    generator = np.random.default_rng(0)
    vector = (generator.standard_normal(2000) * 10.0 ** generator.integers(-30, 30, 2000)).astype(
        np.float32
    )
    expected = np.array([slow_bfloat16(float(number)) for number in vector], np.float32)
    np.testing.assert_array_equal(there_and_back(vector, "bfloat16"), expected)


def test_float16_equals_numpys_rounding() -> None:
    vector = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
    expected = vector.astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(there_and_back(vector, "float16"), expected)


def test_float32_is_exact() -> None:
    vector = np.array([1e-45, -0.0, 3.4e38], np.float32)
    np.testing.assert_array_equal(there_and_back(vector, "float32").view("u4"), vector.view("u4"))


@pytest.mark.parametrize(("dtype", "largest"), [("float16", 65504.0), ("bfloat16", 3.3895314e38)])
def test_numbers_beyond_the_narrow_range_become_its_largest(dtype: Dtype, largest: float) -> None:
    vector = np.array([3.4028235e38, -3.4028235e38, 1.0], np.float32)
    expected = np.array([largest, -largest, 1.0], np.float32)
    np.testing.assert_array_equal(there_and_back(vector, dtype), expected)


def test_a_nan_stays_a_nan_in_bfloat16() -> None:
    vector = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], np.uint32).view(np.float32)
    widened = np.frombuffer(payload_of(vector, "bfloat16"), np.uint16).astype(np.uint32) << 16
    assert np.isnan(widened.view(np.float32)).all()


def test_large_finite_numbers_are_finite() -> None:
    assert is_finite(np.full(1000, 3.4e38, np.float32))


def test_one_number_that_is_not_finite_is_found_anywhere() -> None:
    for position in (0, 65535, 65536, 99_999):
        vector = np.zeros(100_000, np.float32)
        vector[position] = np.nan
        assert not is_finite(vector)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_strided_and_empty_vectors_travel_too(dtype: Dtype) -> None:
    vector = np.arange(10, dtype=np.float32)[::2]
    np.testing.assert_array_equal(there_and_back(vector, dtype), vector)
    assert there_and_back(np.zeros(0, np.float32), dtype).size == 0
