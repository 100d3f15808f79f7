"""Tests of the checks of arguments."""

import re

from absl.testing import absltest, parameterized
import numpy as np

from l2lgd import checks

NAN, INF = float("nan"), float("inf")


class ChecksTest(parameterized.TestCase):

  def assert_refused(self, check, value, must_be, *args):
    with self.assertRaisesRegex(ValueError, "^" + re.escape(
        f"the_name is {value!r}, but must be {must_be}.") + "$"):
      check("the_name", value, *args)

  @parameterized.parameters(1, 7, np.int32(3), np.uint8(3), 2**70)
  def test_positive_integer_is_returned_as_an_int(self, value):
    result = checks.positive_integer("the_name", value)
    self.assertIs(type(result), int)
    self.assertEqual(result, value)

  @parameterized.parameters(
      0, -1, 1., 1.5, True, "1", None, NAN, np.float32(1), [[1]])
  def test_what_is_no_positive_integer_is_refused(self, value):
    self.assert_refused(checks.positive_integer, value, "a positive integer")

  @parameterized.parameters(
      ((), []), ([3], [3]), ((4, 2), [4, 2]), (np.array([4, 2]), [4, 2]))
  def test_positive_integers_are_returned_as_a_list(self, values, expected):
    result = checks.positive_integers("the_name", values)
    self.assertIs(type(result), list)
    self.assertEqual(result, expected)
    self.assertTrue(all(type(value) is int for value in result))

  @parameterized.parameters(3, "34", None, [{3: 4}], [{3}])
  def test_what_is_no_sequence_is_refused(self, values):
    self.assert_refused(
        checks.positive_integers, values, "a tuple of positive integers")

  @parameterized.parameters(0, -1, 2.5, "4", True, None)
  def test_the_entry_that_is_no_positive_integer_is_named(self, value):
    with self.assertRaisesRegex(ValueError, "^" + re.escape(
        f"the_name[1] is {value!r}, but must be a positive integer.") + "$"):
      checks.positive_integers("the_name", (3, value))

  @parameterized.parameters(
      (checks.finite, (-2, 0, 1.5, np.float32(0.5), np.int64(3))),
      (checks.positive, (2, 1.5, 1e-300, np.float32(0.5), np.int64(3))),
      (checks.fraction, (0, 0., 0.5, 0.999, np.float32(0.5))),
      (checks.probability, (0, 0., 0.5, 1, np.float32(1.))))
  def test_number_is_returned_as_a_float(self, check, values):
    for value in values:
      result = check("the_name", value)
      self.assertIs(type(result), float)
      self.assertEqual(result, value)

  @parameterized.parameters(NAN, INF, -INF, True, "1", None, 1j, [[1.]])
  def test_what_is_no_finite_number_is_refused(self, value):
    self.assert_refused(checks.finite, value, "a finite number")
    self.assert_refused(
        checks.finite, value, "a finite number of at least 1.0", 1.)
    self.assert_refused(checks.positive, value, "a positive number")
    self.assert_refused(checks.fraction, value, "in [0, 1)")
    self.assert_refused(checks.probability, value, "in [0, 1]")

  def test_bounds(self):
    self.assertEqual(checks.finite("the_name", 1, 1.), 1.)
    self.assert_refused(
        checks.finite, 0.5, "a finite number of at least 1.0", 1.)
    for value in (0, -1e-300):
      self.assert_refused(checks.positive, value, "a positive number")
    for value in (-0.1, 1, 1.5):
      self.assert_refused(checks.fraction, value, "in [0, 1)")
    for value in (-0.1, 1.1):
      self.assert_refused(checks.probability, value, "in [0, 1]")

  @parameterized.parameters(True, False, None, np.bool_(True))
  def test_optional_boolean_is_returned(self, value):
    self.assertEqual(checks.optional_boolean("the_name", value), value)

  @parameterized.parameters("auto", "false", 0, 1)
  def test_what_is_no_optional_boolean_is_refused(self, value):
    self.assert_refused(
        checks.optional_boolean, value, "True, False or None")

  def test_integer_has_64_bits(self):
    for value in (-2**63, 2**63 - 1):
      self.assertEqual(checks.integer("the_name", value), value)
    for value in (-2**63 - 1, 2**63, 1.):
      self.assert_refused(checks.integer, value, "an integer of 64 bits")

  @parameterized.parameters([["b", "a"]], [{"a": 1, "b": 2}], [{"a", "b"}])
  def test_one_of_the_allowed_strings_is_returned(self, allowed):
    self.assertEqual(checks.one_of("the_name", "a", allowed), "a")

  @parameterized.parameters("c", "", "ab", None, 3, [["a"]])
  def test_another_string_is_refused_with_those_allowed(self, value):
    self.assert_refused(
        checks.one_of, value, "one of ['a', 'b']", {"b": 1, "a": 2})


if __name__ == "__main__":
  absltest.main()
