"""Scalars against a table written by hand from the YAML 1.2.2 specification, section 10.3."""

import math

import pytest

from xtune.recipe.scalars import resolve_scalar

TABLE = [
    ("", None),
    ("~", None),
    ("null", None),
    ("Null", None),
    ("NULL", None),
    ("nULL", "nULL"),
    ("none", "none"),
    ("true", True),
    ("True", True),
    ("FALSE", False),
    ("tRUE", "tRUE"),
    ("yes", "yes"),
    ("no", "no"),
    ("on", "on"),
    ("off", "off"),
    ("y", "y"),
    ("0", 0),
    ("-0", 0),
    ("+12", 12),
    ("-19", -19),
    ("017", 17),
    ("0o7", 7),
    ("0o17", 15),
    ("0x3A", 58),
    ("0X3A", "0X3A"),
    ("-0x3A", "-0x3A"),
    ("0b11", "0b11"),
    ("1_000", "1_000"),
    ("1,000", "1,000"),
    ("1:30", "1:30"),
    ("12:30:45", "12:30:45"),
    ("2024-01-01", "2024-01-01"),
    ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
    ("1e-4", 1e-4),
    ("1E-4", 1e-4),
    ("2e+3", 2000.0),
    ("5e5", 5e5),
    ("0.", 0.0),
    ("-0.0", -0.0),
    (".5", 0.5),
    ("12e03", 12000.0),
    ("-2E+05", -200000.0),
    ("+1.5", 1.5),
    ("e4", "e4"),
    ("1e", "1e"),
    (".", "."),
    ("1.2.3", "1.2.3"),
    (".inf", math.inf),
    ("-.Inf", -math.inf),
    ("+.INF", math.inf),
    ("inf", "inf"),
    ("nan", "nan"),
    ("<<", "<<"),
    ("=", "="),
    ("٣", "٣"),
    ("9223372036854775807", 2**63 - 1),
]


@pytest.mark.parametrize(("text", "value"), TABLE)
def test_a_plain_scalar_has_its_yaml_1_2_value_and_type(text, value):
    found = resolve_scalar(text)

    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_not_a_number_is_read_as_such(text):
    assert math.isnan(resolve_scalar(text))


@pytest.mark.parametrize(
    "text", ["9223372036854775808", "-9" * 1 + "9" * 30, "0x" + "f" * 17, "1" * 5000]
)
def test_whole_numbers_beyond_64_bits_are_refused(text):
    with pytest.raises(ValueError, match="beyond 64 bits"):
        resolve_scalar(text)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_characters_that_no_file_can_hold_are_refused(text):
    with pytest.raises(ValueError, match="no text file can hold"):
        resolve_scalar(text)
