"""Tests of what is drawn."""

import itertools
import os
import tempfile
import types
from unittest import mock
import warnings

from absl.testing import absltest, parameterized
import matplotlib
import matplotlib.colors
import matplotlib.pyplot as plt
import numpy as np

from meta import diagnostics, plots
from networks import baselines

PNG = b"\x89PNG\r\n\x1a\n"


def drawn(function, *args, **kwargs):
  """The figure that a function draws, instead of saving it."""
  with mock.patch.object(plots, "_save") as save:
    function("a.png", *args, **kwargs)
  figure, filename = save.call_args.args
  plt.close(figure)
  assert filename == "a.png"
  return figure


def save(function, *args, name="drawn.png"):
  """The bytes of the file that a function draws without a warning."""
  with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
    warnings.simplefilter("error")
    path = os.path.join(folder, name)
    function(path, *args)
    assert os.listdir(folder) == [name]
    with open(path, "rb") as file:
      return file.read()


def legend(figure):
  found, = figure.legends
  return [text.get_text() for text in found.get_texts()]


class LearningCurvesTest(parameterized.TestCase):

  def test_what_explodes_leaves_the_plot(self):
    axes, = drawn(plots.learning_curves, {
        "L2L": np.array([[2., 1., 1e9]]), "Sgd": np.array([[3., 1., 1.]])},
                  "").axes
    self.assertAlmostEqual(axes.get_ylim()[1], 300.)

  def test_lines_are_means_and_bands_quartiles(self):
    losses = {name: np.random.default_rng(i).lognormal(size=[5, 4])
              for i, name in enumerate(("L2L", "Adam", "Sgd"))}
    figure = drawn(plots.learning_curves, losses, "quadratic")
    axes, = figure.axes
    self.assertLen(axes.lines, 3)
    self.assertLen(axes.collections, 3)
    for line, band, (name, runs) in zip(
        axes.lines, axes.collections, losses.items(), strict=True):
      self.assertEqual(line.get_label(), name)
      np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2, 3])
      np.testing.assert_allclose(line.get_ydata(), runs.mean(axis=0))
      ranks = np.sort(runs, axis=0)  # Of five runs, the quartiles are two.
      vertices = band.get_paths()[0].vertices
      for step in range(4):
        own = vertices[vertices[:, 0] == step, 1]
        np.testing.assert_allclose(
            [own.min(), own.max()], [ranks[1, step], ranks[3, step]])
      self.assertEqual(matplotlib.colors.to_rgb(line.get_color()),
                       tuple(band.get_facecolor()[0, :3]))
      self.assertLess(band.get_alpha(), 0.5)

  def test_long_runs_are_averaged(self):
    losses = np.random.default_rng(0).lognormal(size=[3, 1001])
    axes, = drawn(plots.learning_curves, {"L2L": losses}, "mnist").axes
    x, y = axes.lines[0].get_data()
    np.testing.assert_array_equal(x, np.arange(2, 1000, 5))
    np.testing.assert_allclose(
        y, [losses[:, t - 2:t + 3].mean() for t in range(2, 1000, 5)])

  def test_axes_are_labelled(self):
    figure = drawn(plots.learning_curves, {
        "L2L": np.ones([2, 3]), "Adam": np.ones([2, 3])}, "quadratic")
    axes, = figure.axes
    self.assertEqual(
        (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()),
        ("Step", "Loss", "quadratic"))
    self.assertEqual((axes.get_xscale(), axes.get_yscale()), ("linear", "log"))
    self.assertEqual(legend(figure), ["L2L", "Adam"])

  def test_first_is_on_top_and_colors_differ(self):
    axes, = drawn(plots.learning_curves, {
        name: np.ones([1, 2]) for name in "abc"}, "").axes
    heights = [line.get_zorder() for line in axes.lines]
    self.assertEqual(heights, sorted(heights, reverse=True))
    self.assertLen({line.get_color() for line in axes.lines}, 3)

  def test_colors_of_six_and_of_all_baselines_can_be_told_apart(self):
    axes, = drawn(plots.learning_curves, {
        name: np.ones([1, 2]) for name in (*"abcdef", *baselines.BY_NAME)},
                  "").axes
    colors = [np.array(matplotlib.colors.to_rgb(line.get_color()))
              for line in axes.lines]
    for a, b in itertools.combinations(colors, 2):
      self.assertGreater(np.abs(a - b).max(), 0.15)

  def test_baseline_has_one_color_in_all_plots(self):
    def colors(*names):
      axes, = drawn(plots.learning_curves, {
          name: np.ones([1, 2]) for name in names}, "").axes
      return {line.get_label(): line.get_color() for line in axes.lines}

    one, other = colors("L2L", "Sgd", "Adam"), colors("Adam", "LSTM", "Sgd")
    self.assertEqual((one["Sgd"], one["Adam"], one["L2L"]),
                     (other["Sgd"], other["Adam"], other["LSTM"]))

  def test_published_losses_are_points_in_the_color_of_the_optimizer(self):
    figure = drawn(
        plots.learning_curves, {"L2L": np.ones([1, 2]), "Sgd": np.ones([1, 2])},
        "", xs=[5, 60], xlabel="Units", points={"Sgd": {5: .3, 60: .2}})
    axes, = figure.axes
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [5, 60])
    np.testing.assert_array_equal(
        axes.lines[2].get_xydata(), [[5, .3], [60, .2]])
    self.assertEqual(axes.lines[2].get_color(), axes.lines[1].get_color())
    self.assertEqual(axes.get_xlabel(), "Units")
    self.assertEqual(legend(figure), ["L2L", "Sgd", "published"])

  def test_diverged_runs_are_left_out(self):
    runs = np.float32([[1., 4.], [3., np.inf], [np.nan, 1.], [2., 8.]])
    figure = drawn(plots.learning_curves, {
        "one": np.float32([[1., np.nan]]), "two": runs}, "")
    axes, = figure.axes
    self.assertEmpty(axes.lines[0].get_xdata())
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [1.5, 6.])
    self.assertEqual(legend(figure), ["one (all diverged)", "two"])

  def test_means_of_the_largest_losses_are_finite(self):
    axes, = drawn(plots.learning_curves, {
        "Sgd": np.full([4, 2], 3e38, np.float32)}, "").axes
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [3e38] * 2, rtol=1e-6)

  @parameterized.parameters((5., True), (1000., False))
  def test_narrow_axes_have_more_numbers(self, largest, expected):
    axes, = drawn(plots.learning_curves, {
        "L2L": np.array([[1., largest]])}, "").axes
    self.assertEqual(axes.yaxis.get_major_formatter()(2., 0), "2")
    self.assertEqual(axes.yaxis.get_minor_formatter()(2., 0) == "2", expected)

  @parameterized.parameters("curves", "curves.pdf", "curves.png")
  def test_file_is_the_one_that_was_named(self, name):
    data = save(
        plots.learning_curves, {"L2L": np.ones([2, 3])}, "x", name=name)
    self.assertTrue(data.startswith(PNG))

  @parameterized.parameters((0., "linear"), (-1., "linear"), (2., "log"))
  def test_losses_that_are_never_positive_have_a_linear_axis(
      self, loss, scale):
    axes, = drawn(plots.learning_curves, {
        "L2L": np.full([2, 3], -1.), "Sgd": np.full([2, 3], loss)}, "").axes
    self.assertEqual(axes.get_yscale(), scale)

  @parameterized.parameters(np.nan, np.inf, 3e38, 0., -1.)
  def test_any_loss_is_drawn_without_a_warning(self, loss):
    data = save(plots.learning_curves, {
        "L2L": np.full([2, 3], loss, np.float32)}, "x")
    self.assertTrue(data.startswith(PNG))

  def test_figure_is_closed(self):
    before = plt.get_fignums()
    save(plots.learning_curves, {"L2L": np.ones([2, 3])}, "x")
    self.assertEqual(plt.get_fignums(), before)


def make_responses(updates=("L2L", "Sgd"), steps=(1, 5),
                   coordinates=(("w", 3), ("b", 0))):
  """Responses of two optimizers, which differ from panel to panel."""
  return [diagnostics.Response(
      step, name, index, gradient=0.5 + i, values=np.linspace(-2., 2., 5) + i,
      updates={key: (k + 1.) * np.linspace(-2., 2., 5)
               for k, key in enumerate(updates)})
          for step in steps for i, (name, index) in enumerate(coordinates)]


def make_trace(loss=(4., 2., 1.), gradient_size=(1., 2., 4.),
               update_size=(.5, .5, .5), cosine=(0., 1., -1.)):
  return diagnostics.Trace(*map(
      np.float64, (loss, gradient_size, update_size, cosine)), {})


class UpdatesTest(parameterized.TestCase):

  def draw(self, responses=None, traces=None):
    """The axes of the responses and of the traces, and the figure."""
    figure = drawn(plots.updates, responses or make_responses(), traces or {
        "L2L": make_trace()}, "quadratic")
    axes = figure.axes
    return axes[:-4], axes[-4:], figure

  def test_panels_are_a_column_for_each_step(self):
    panels, _, _ = self.draw()
    self.assertEqual([axes.get_title() for axes in panels], [
        "step 1, w[3]", "step 5, w[3]", "step 1, b[0]", "step 5, b[0]"])
    self.assertEqual([axes.get_xlabel() for axes in panels],
                     ["", "", "Gradient", "Gradient"])
    self.assertEqual([axes.get_ylabel() for axes in panels],
                     ["Update / RMS", "", "Update / RMS", ""])

  def test_panel_has_a_line_and_a_dot_for_each_optimizer(self):
    panels, _, _ = self.draw()
    for axes, row in zip(panels, (0, 0, 1, 1), strict=True):
      lines = [line for line in axes.lines if len(line.get_xdata()) == 5]
      dots = [line for line in axes.lines if line.get_marker() == "o"]
      self.assertEqual([line.get_label() for line in lines], ["L2L", "Sgd"])
      for k, (line, dot) in enumerate(zip(lines, dots, strict=True)):
        np.testing.assert_allclose(
            line.get_xdata(), np.array([-2., -1., 0., 1., 2.]) + row)
        np.testing.assert_allclose(
            line.get_ydata(), (k + 1) * np.array([-2., -1., 0., 1., 2.]))
        # Its gradient is half a step to the right of the middle.
        np.testing.assert_allclose(
            [dot.get_xdata()[0], dot.get_ydata()[0]],
            [row + .5, (k + 1) * .5])
        self.assertEqual(dot.get_color(), line.get_color())

  def test_optimizers_without_a_trace_are_dashed(self):
    panels, bottom, _ = self.draw()
    styles = {line.get_label(): line.get_linestyle()
              for line in panels[0].lines if len(line.get_xdata()) == 5}
    self.assertEqual(styles, {"L2L": "-", "Sgd": "--"})
    self.assertEqual([line.get_label() for line in bottom[0].lines], ["L2L"])

  def test_optimizer_has_one_color_and_one_name(self):
    panels, bottom, figure = self.draw(traces={
        "Sgd": make_trace(), "L2L": make_trace()})
    for name in ("L2L", "Sgd"):
      self.assertLen({line.get_color() for axes in (*panels, *bottom)
                      for line in axes.lines if line.get_label() == name}, 1)
    self.assertEqual(legend(figure), ["L2L", "Sgd"])

  def test_titles_name_the_problem_and_the_run(self):
    _, _, figure = self.draw()
    top, bottom = (sub.get_suptitle() for sub in figure.subfigs)
    self.assertRegex(top, "^quadratic: the update .*\n.* a run of L2L")
    self.assertEqual(bottom, "A run of each optimizer")

  def test_traces_are_drawn_by_step(self):
    _, panels, _ = self.draw()
    self.assertEqual(
        [(axes.get_title(), axes.get_yscale()) for axes in panels], [
            ("Loss", "log"), ("RMS of the updates", "log"),
            ("RMS of the updates / of the gradients", "log"),
            ("Cosine of update and -gradient", "linear")])
    for axes, values in zip(panels, (
        (4., 2., 1.), (.5, .5, .5), (.5, .25, .125), (0., 1., -1.)),
                            strict=True):
      line, = axes.lines
      np.testing.assert_array_equal(line.get_xdata(), [0, 1, 2])
      np.testing.assert_allclose(line.get_ydata(), values)
      self.assertEqual(axes.get_xlabel(), "Step")

  def test_logarithmic_axes_are_never_flat(self):
    _, panels, _ = self.draw()
    low, high = panels[1].get_ylim()  # Of a curve that is constant.
    self.assertGreaterEqual(high, 2.9 * low)
    self.assertBetween(0.5, low, high)

  def test_what_is_never_positive_has_a_linear_axis(self):
    zeros = (0., 0., 0.)
    _, panels, _ = self.draw(traces={"L2L": make_trace(
        gradient_size=zeros, update_size=zeros)})
    self.assertEqual([axes.get_yscale() for axes in panels],
                     ["log", "linear", "linear", "linear"])
    self.assertTrue(np.isnan(panels[2].lines[0].get_ydata()).all())

  @parameterized.parameters(
      {"update_size": (0., 0., 0.), "cosine": (0., 0., 0.)},
      {"gradient_size": (0., 1., 0.)},
      {"loss": (1., np.inf, np.nan), "gradient_size": (1., np.inf, np.nan),
       "update_size": (1., np.inf, np.nan), "cosine": (0., np.nan, np.nan)},
      {"loss": (-1., -2., -3.)})
  def test_any_trace_is_drawn_without_a_warning(self, **trace):
    data = save(plots.updates, make_responses(
        steps=(1,), coordinates=(("w", 3),)), {
            "L2L": make_trace(**trace)}, "quadratic")
    self.assertTrue(data.startswith(PNG))

  def test_one_coordinate_in_one_step_is_drawn(self):
    panels, _, _ = self.draw(
        make_responses(steps=(0,), coordinates=(("x", 0),)))
    self.assertEqual([axes.get_title() for axes in panels], ["step 0, x[0]"])


class ImagesTest(parameterized.TestCase):

  def test_row_is_content_style_and_the_image_of_each_optimizer(self):
    rng = np.random.default_rng(0)
    contents = rng.uniform(size=[2, 4, 4, 3])
    style = rng.uniform(size=[4, 4, 3])
    results = {name: rng.uniform(size=[2, 1, 4, 4, 3])
               for name in ("L2L", "Sgd")}
    problem = types.SimpleNamespace(
        style=style, picture=lambda params: params["image"][0])
    figure = drawn(plots.images, problem, contents, results)
    self.assertLen(figure.axes, 2 * 4)
    for i in range(2):
      row = figure.axes[4 * i:4 * i + 4]
      pictures = (contents[i], style, results["L2L"][i, 0],
                  results["Sgd"][i, 0])
      for axes, name, picture in zip(
          row, ("content", "style", "L2L", "Sgd"), pictures, strict=True):
        image, = axes.images
        np.testing.assert_array_equal(image.get_array(), picture)
        self.assertFalse(axes.axison)
        self.assertEqual(axes.get_title(), name if i == 0 else "")


if __name__ == "__main__":
  absltest.main()
