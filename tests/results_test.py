"""Tests of tables and CSV files."""

import os
import pathlib
import tempfile

from absl.testing import absltest, parameterized
import numpy as np

from meta import results, tuning


def runs(*final_losses):
  """The losses of runs of one step, from 9."""
  return np.float32([[9., loss] for loss in final_losses])


def cells(table):
  """The cells of a table below its headings."""
  return [line.split() for line in table.splitlines()[2:]]


class TableTest(parameterized.TestCase):

  def test_cells_are_the_statistics_of_the_final_losses(self):
    table = results.table({"Adam": runs(1., 2., 3., 4., 5.)}, {"Adam": 0.125})
    heading, line, row = table.splitlines()
    self.assertEqual(heading.split(), [
        "Optimizer", "Rate", "Mean", "Std.", "error", "Median", "25", "%", "75",
        "%", "Diverged"])
    self.assertRegex(line, r"\A[ -]+\Z")
    # The standard deviation of 1 to 5 is sqrt(2.5).
    self.assertEqual(row.split(), [
        "Adam", "0.125", "3", f"{(2.5 / 5)**.5:.4g}", "3", "2", "4", "0"])

  def test_best_is_first_and_diverged_are_last(self):
    losses = {
        "all": runs(np.nan, np.inf), "bad": runs(5., 6.),
        "one": runs(1e-9, np.inf), "good": runs(1., 2.),
        "one more": runs(1e-8, np.nan), "best": runs(1., 1.5)}
    table = results.table(losses, dict.fromkeys(losses, 1.))
    self.assertEqual(
        [row[0] for row in cells(table)],
        ["best", "good", "bad", "one", "one", "all"])
    self.assertEqual([row[-1] for row in cells(table)],
                     ["0", "0", "0", "1", "1", "2"])
    self.assertLess(table.index("one "), table.index("one more"))

  def test_numbers_beside_dashes_are_rounded(self):
    table = results.table(
        {"good": runs(0.123456789), "bad": runs(np.nan)}, {})
    self.assertEqual([row[2] for row in cells(table)], ["0.1235", "-"])

  def test_numbers_that_are_not_there_are_dashes(self):
    # A learned optimizer has no rate, one run no standard error.
    self.assertEqual(
        cells(results.table({"L2L": runs(1.)}, {"L2L": None})),
        [["L2L", "-", "1", "-", "1", "1", "1", "0"]])
    self.assertEqual(
        cells(results.table({"Sgd": runs(np.inf, np.nan)}, {"Sgd": 0.1})),
        [["Sgd", "0.1", "-", "-", "-", "-", "-", "2"]])

  def test_numbers_have_four_digits(self):
    table = results.table({"L2L": runs(123456., 123456.)}, {"L2L": 0.000123456})
    self.assertEqual(cells(table)[0][:3], ["L2L", "0.0001235", "1.235e+05"])

  def test_search_shows_all_rates_and_the_best(self):
    table = results.tuning_table("RMSProp, decay 0.9", tuning.Tuning(
        [1e-3, 0.0464, 10.], [2.00001, 0.5, np.inf]))
    heading, _, *rows = table.splitlines()
    self.assertEqual(
        heading.split("  ")[0], "RMSProp, decay 0.9, rate")
    self.assertIn("Mean loss", heading)
    self.assertEqual([row.split() for row in rows], [
        ["0.001", "2"], ["0.0464", "0.5", "best"], ["10", "diverged"]])


class CsvTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    folder = self.enter_context(tempfile.TemporaryDirectory())
    self.file = os.path.join(folder, "losses.csv")

  def test_each_loss_is_a_row(self):
    results.write_csv(self.file, {
        "L2L": np.float32([[.5, .25], [np.nan, np.inf]]),
        "Sgd": np.float32([[1e-9, 3.]])})
    self.assertEqual(
        pathlib.Path(self.file).read_text(),
        "optimizer,run,step,loss\n"
        "L2L,0,0,0.5\nL2L,0,1,0.25\nL2L,1,0,nan\nL2L,1,1,inf\n"
        "Sgd,0,0,1e-09\nSgd,0,1,3.0\n")

  def test_losses_are_read_again_bit_for_bit(self):
    losses = np.random.default_rng(0).lognormal(
        sigma=20., size=[5, 9]).astype(np.float32)
    results.write_csv(self.file, {"L2L": losses})
    read = np.genfromtxt(self.file, delimiter=",", names=True, dtype=None)
    np.testing.assert_array_equal(
        read["loss"].astype(np.float32).reshape([5, 9]), losses)

  def test_names_may_hold_commas(self):
    results.write_csv(self.file, {'L2L-a,"b"': np.float32([[1.]])})
    self.assertEqual(pathlib.Path(self.file).read_text().splitlines()[1],
                     '"L2L-a,""b""",0,0,1.0')

  def test_file_that_cannot_be_written_is_named(self):
    with self.assertRaisesRegex(OSError, "/no/.*losses.csv"):
      results.write_csv("/no/losses.csv", {"Sgd": np.float32([[1.]])})


if __name__ == "__main__":
  absltest.main()
