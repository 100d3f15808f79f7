"""Tests of verdicts, and of the table that they are about."""

import itertools
import os
import re
import shlex

from absl.testing import absltest, parameterized
import numpy as np
from scipy import stats

from l2lgd.commands.paper import records, table, trainings, verdicts
from meta import experiments, pretrained_networks
from networks import baselines


def record(*finals):
  """A record of runs of two steps with these final losses."""
  losses = [[3., 2., final] for final in finals]
  return records.Record(np.float32(losses), {}, 1., "", "")


def make_panel(published=None, settings=("",), **kwargs):
  return table.Panel((), "", "", {label: table.Setting(
      "quadratic", {"LSTM": "a", "other": "b"}, num_steps=2,
      hand_designed=("Sgd", "Adam")) for label in settings},
                     {"LSTM": published or {}}, **kwargs)


def make_runs(lstm=(.1, .3, .2), sgd=(5., 4., 6.), adam=(.6, .7, .9)):
  return {"LSTM": record(*lstm), "other": record(*adam[::-1]),
          "Sgd": record(*sgd), "Adam": record(*adam)}


def commands(card):
  """The flags of each training on a card, but for folders."""
  text = card.replace("\\\n", " ")
  lines = re.findall("(?:^|`)l2l-train ([^`\n]*)", text, re.MULTILINE)
  return [{flag for flag in shlex.split(line)
           if not re.match("--(data_dir|save_path|init)=", flag)}
          for line in lines]


class VerdictsTest(parameterized.TestCase):

  def test_difference_is_paired_and_from_the_best(self):
    found = verdicts.difference(make_panel(), "", make_runs(), "LSTM")
    pairs = np.array([.1 - .6, .3 - .7, .2 - .9])
    self.assertEqual(found.best, "Adam")
    self.assertAlmostEqual(found.mean, pairs.mean(), places=6)
    self.assertAlmostEqual(
        found.standard_error, pairs.std(ddof=1) / 3**.5, places=6)
    self.assertEqual(found.describe(), "0.53 (± 0.09) below Adam")

  def test_single_run_has_no_error(self):
    runs = make_runs(lstm=(1.,), sgd=(3.,), adam=(4.,))
    found = verdicts.difference(make_panel(), "", runs, "LSTM")
    self.assertEqual(found.describe(), "2 below Sgd")

  def test_lowest_of_all_from_a_step_on(self):
    runs = make_runs()
    for name, losses in {"LSTM": [5., 2., 3., 1.], "other": [1., 2., 3., 9.],
                         "Sgd": [4., 2., 4., np.nan],
                         "Adam": [4., 9., 3.5, 2.]}.items():
      runs[name] = runs[name]._replace(
          losses=np.float32([losses, losses]))
    for name, expected in (("LSTM", 2), ("other", None)):
      with self.subTest(name):
        self.assertEqual(
            verdicts.ahead_from(make_panel(), "", runs, name), expected)
    self.assertEqual(verdicts.ahead_from(
        make_panel(rivals=("Sgd",)), "", runs, "other"), 2)
    runs["LSTM"].losses[:] = 0.
    self.assertEqual(verdicts.ahead_from(make_panel(), "", runs, "LSTM"), 0)

  @parameterized.parameters(np.nan, np.inf)
  def test_none_that_diverges_is_ahead(self, loss):
    runs = make_runs(lstm=(.1, np.inf), sgd=(loss, loss), adam=(.1, np.nan))
    self.assertIsNone(verdicts.ahead_from(make_panel(), "", runs, "LSTM"))

  def test_rivals_may_be_learned(self):
    found = verdicts.difference(
        make_panel(rivals=("other",)), "", make_runs(), "LSTM")
    self.assertEqual(found.best, "other")

  def test_difference_within_chance_is_not_claimed(self):
    runs = make_runs(lstm=(.6, .71, .88))  # 0, .01 above and .02 below Adam.
    runs["LSTM"].losses[:, 1] = 0.
    found = verdicts.difference(make_panel(), "", runs, "LSTM")
    self.assertFalse(found.is_ahead)
    self.assertEqual(found.describe(),
                     "not distinguishable from Adam (0.0033 ± 0.009 below)")
    self.assertRegex(verdicts.judge(make_panel(), {"": runs}).reason,
                     r"^LSTM is not distinguishable from Adam \([^)]*\)\.$")

  def test_fewer_runs_need_more_standard_errors(self):
    # Of the pairs, p is 0.09 with four runs, and 0.02 with eight.
    pairs = [.1, .1, .6, .6]
    for runs_of_each, expected in ((pairs, False), (2 * pairs, True)):
      runs = make_runs(lstm=np.array(runs_of_each) + 1,
                       adam=np.ones(len(runs_of_each)),
                       sgd=[5.] * len(runs_of_each))
      found = verdicts.difference(make_panel(), "", runs, "LSTM")
      p = stats.ttest_rel(runs["LSTM"].losses[:, -1],
                          runs["Adam"].losses[:, -1]).pvalue
      self.assertEqual((found.is_behind, p < .05), (expected, expected))
      self.assertGreater(found.mean, 2 * found.standard_error)

  def test_nothing_is_said_where_one_always_diverges(self):
    runs = make_runs(lstm=(.1, np.inf, np.inf), adam=(np.inf, .7, np.inf),
                     sgd=(np.inf,) * 3)
    found = verdicts.difference(make_panel(), "", runs, "LSTM")
    self.assertFalse(found.is_ahead or found.is_behind)
    self.assertEqual(
        found.describe(), "not comparable with Adam: on each function, one of "
        "the two diverged")

  def test_what_diverges_more_often_is_behind(self):
    runs = make_runs(lstm=(.1, np.inf, .2))
    found = verdicts.difference(make_panel(), "", runs, "LSTM")
    self.assertFalse(found.is_ahead)
    self.assertEqual(
        found.describe(), "behind Adam, which diverges less often")
    runs = make_runs(sgd=(np.inf,) * 3, adam=(np.nan,) * 3)
    found = verdicts.difference(make_panel(), "", runs, "LSTM")
    self.assertTrue(found.is_ahead)
    self.assertEqual(
        found.describe(), "ahead of Sgd, which diverges more often")
    runs = make_runs(adam=(np.nan, 1e-3, 1e-3))
    found = verdicts.difference(make_panel(), "", runs, "LSTM")
    self.assertEqual(found.best, "Sgd")

  @parameterized.parameters(
      ({}, {}, "reproduced"),
      ({2: .15}, {}, "reproduced"),  # Above the paper's.
      ({2: 1.5}, {}, "better"),
      ({}, {"lstm": (.6, .71, .89)}, "not reproduced"),  # No more than chance.
      ({2: 5.}, {"lstm": (.6, .71, .89)}, "not reproduced"),
      ({}, {"lstm": (1., 2., 3.)}, "not reproduced"),
      ({}, {"lstm": (.1,), "sgd": (1.,), "adam": (2.,)}, "not reproduced"))
  def test_word_where_the_paper_is_ahead(self, published, losses, expected):
    found = verdicts.judge(make_panel(published), {"": make_runs(**losses)})
    self.assertEqual(found.word, expected)

  @parameterized.parameters(
      ((3., 4., 5.), "reproduced"), ((.1, .3, .2), "better"),
      ((1., 1.1, 1.2), "better"), ((.1, np.inf, .2), "reproduced"),
      ((1., 2., 3.), "not reproduced"))  # Neither fails nor is ahead.
  def test_word_where_the_paper_fails(self, lstm, expected):
    panel = make_panel({2: 2.5}, learned_is_ahead=False)
    found = verdicts.judge(panel, {"": make_runs(lstm=lstm)})
    self.assertEqual(found.word, expected)

  @parameterized.parameters(
      ((.1, .3, .2), "ahead"), ((.6, .71, .89), "level"),
      ((1., 2., 3.), "level"),  # By 2.6 standard errors of three runs.
      ((3., 4., 5.), "behind"), ((.1, np.inf, .2), "behind"))
  def test_word_where_the_paper_has_no_such_panel(self, lstm, expected):
    panel = make_panel(learned_is_ahead=None)
    found = verdicts.judge(panel, {"": make_runs(lstm=lstm)})
    self.assertEqual(found.word, expected)

  def test_picture_of_updates_is_not_judged(self):
    found = verdicts.judge(make_panel(draws="updates"), {"": make_runs()})
    self.assertEqual(found.word, "shown")

  def test_reason_is_about_the_first_and_others_about_the_rest(self):
    found = verdicts.judge(make_panel(), {"": make_runs()})
    self.assertRegex(
        found.reason, r"^LSTM is .* below Adam, and ahead of all "
        r"hand-designed optimizers from step 2 on\.$")
    self.assertRegex(found.others, "^other is .* Adam")

  def test_only_rival_is_not_all(self):
    found = verdicts.judge(make_panel(rivals=("Adam",)), {"": make_runs()})
    self.assertRegex(
        found.reason, r"^LSTM is .* below Adam, and ahead of it from step 2 on")

  def test_all_settings_must_be_ahead(self):
    panel = make_panel({5: 1., 60: 2.}, settings=("5", "60"))
    runs = {"5": make_runs(), "60": make_runs()}
    self.assertEqual(verdicts.judge(panel, runs).word, "better")
    runs["60"] = make_runs(lstm=(7., 8., 9.))
    found = verdicts.judge(panel, runs)
    self.assertEqual(found.word, "not reproduced")
    self.assertIn("significantly below Adam in 1 of 2 settings", found.reason)


class TableTest(parameterized.TestCase):

  def test_figures_and_panels_are_selected(self):
    self.assertEqual(list(table.select(["7"])), ["cifar10", "cifar5", "cifar2"])
    self.assertEqual(list(table.select(["9", "mnist"])),
                     ["mnist", "art-64", "art-128"])
    self.assertEqual(table.select([]), table.PANELS)
    with self.assertRaisesRegex(ValueError, "--panels has '3', but must be"):
      table.select(["3"])

  @parameterized.parameters(*table.PANELS)
  def test_problems_and_networks_exist(self, key):
    panel = table.PANELS[key]
    for setting in panel.settings.values():
      experiment = experiments.get(setting.problem)
      self.assertEqual(setting.split is not None, experiment.has_data)
      self.assertLessEqual({*setting.options}, {*experiment.options})
      for name in setting.learned.values():
        self.assertTrue(os.path.isdir(pretrained_networks.find(name)))
        self.assertIn(name, trainings.TRAINING)
    self.assertLessEqual({*panel.published}, {"LSTM", *baselines.BY_NAME})

  def test_quick_has_all_panels_and_less_to_do(self):
    for panel in table.PANELS.values():
      quick = table.quick(panel)
      self.assertLessEqual(quick.settings.keys(), panel.settings.keys())
      for label, setting in quick.settings.items():
        full = panel.settings[label]
        self.assertEqual(setting.learned, full.learned)
        self.assertNotEmpty(setting.hand_designed)
        self.assertBetween(setting.num_runs, 2, full.num_runs - 1)
        self.assertBetween(setting.tuning_runs, 1, min(3, full.tuning_runs))

  def test_quick_tests_nothing_where_runs_are_shorter(self):
    shortened = {}
    for key, panel in table.PANELS.items():
      quick = table.quick(panel)
      if quick.num_steps < panel.num_steps:
        shortened[key] = quick.note.partition(" steps")[0]
        self.assertIsNone(quick.learned_is_ahead)
      else:
        self.assertEqual(quick.learned_is_ahead, panel.learned_is_ahead)
    self.assertEqual(shortened, {
        **dict.fromkeys(
            ("cifar10", "cifar5", "cifar2"), "These are 100 of 1,000"),
        **dict.fromkeys(("mnist-10000", "mnist-relu-10000"),
                        "These are 2,000 of 10,000"),
        "art-128": "These are 32 of 128"})

  def test_known_rates_are_of_optimizers_of_the_panels(self):
    for key, of_panel in table.known_rates().items():
      for label, of_setting in of_panel.items():
        setting = table.PANELS[key].settings[label]
        self.assertLessEqual({*of_setting}, {*setting.hand_designed})
        for name, options in of_setting.items():
          network = baselines.BY_NAME[name](**options)
          self.assertEqual(network.options | options, network.options)

  @parameterized.parameters(*trainings.TRAINING)
  def test_trainings_are_those_of_the_cards(self, name):
    cards = pretrained_networks.pretrained()
    stages = trainings.TRAINING[name].stages
    found = commands(cards[name])
    for other, training in trainings.TRAINING.items():
      same = len([*itertools.takewhile(
          lambda pair: pair[0] == pair[1], zip(stages, training.stages))])
      start = other
      if same < len(training.stages):
        start = f"runs/{other}-{same}"
      elif other != name:
        self.assertIn(f"--init={other} ", cards[name])
      if f"--init={start} " in cards[name]:  # It starts from there.
        found += commands(cards[other])
    for flags in stages:
      self.assertIn(
          {f"--{flag}={value}" for flag, value in flags.items()}, found)


if __name__ == "__main__":
  absltest.main()
