"""Makes the figures of the paper again, and a page of them."""

from collections.abc import Callable, Mapping, Sequence
import os
import shlex
from typing import Any

from absl import flags

from l2lgd import checks, devices, files
from l2lgd.commands import console, data, program
from l2lgd.commands.paper import comparison as comparison_lib
from l2lgd.commands.paper import jobs, records, report, table, trainings
from meta import pretrained_networks

FLAGS = flags.FLAGS
flags.adopt_module_key_flags(data)  # For --help.
flags.DEFINE_string("output", "paper", "Folder to write. What is computed is "
                    "kept in it, and not computed again.")
flags.DEFINE_list("panels", [], "Figures, such as 4,5, appendix or "
                  "beyond (the paper), or panels: "
                  f"{', '.join(table.PANELS)}. (default: all)")
flags.DEFINE_integer("runs", None, "Runs of each optimizer, in place of the "
                     "number of the panel, 8 to 2,500.")
flags.DEFINE_bool("retrain", False, "Whether to train the networks again, in "
                  "place of taking the library's.")
flags.DEFINE_bool("quick", False, "Whether to make few runs, shorter where "
                  "they take longest, with the paper's hand-designed "
                  "optimizers alone, at stored learning rates.")

Comparisons = dict[str, dict[str, comparison_lib.Comparison]]
"""The comparisons by panel and by setting."""


def main() -> int:
  console.print_device()
  with program.user_errors():
    panels = choose()
    files.check_not_empty("--output", FLAGS.output)
    output = files.expand(FLAGS.output)
    results = os.path.join(output, "results")
    page = os.path.join(output, "index.html")
    if os.path.exists(page) and not os.path.exists(results):
      raise ValueError(f"--output is {FLAGS.output}, whose index.html is not "
                       "of this program: give another folder.")
    files.make_folder(results)
    # Not the output folder itself: it may be that of the data, too, which is
    # locked while they are downloaded.
    with files.locked("The folder of the results", results):
      sections = make_page(panels, output)
  for section in sections:
    print(f"{section.panel.title}: {section.word}. {section.reason}")
  print(f"The page is {page}.")
  return int(any(section.error for section in sections))


def make_page(panels: dict[str, table.Panel],
              output: str) -> list[report.Section]:
  """Computes what is not there yet, and writes the page."""
  errors = {}
  if FLAGS.retrain:
    panels = with_networks_of(panels, output)
    by_folder = make_trainings(panels)
    jobs_by_name = {job.name: job for job in by_folder.values()}
    failed = jobs.run([*jobs_by_name.values()],
                      num_processes(len(jobs_by_name)))
    errors = {folder: failed[job.name] for folder, job in by_folder.items()
              if job.name in failed}
  comparisons = plan(panels, output)
  # All of them count, so that one that was interrupted gets as many threads.
  errors |= jobs.run(
      make_jobs({key: of_panel for key, of_panel in comparisons.items()
                 if find_error(errors, of_panel) is None}),
      num_processes(sum(map(len, comparisons.values()))))
  sections = [
      report.make_section(key, panel, comparisons[key], find_error(
          errors, comparisons[key]), output)
      for key, panel in panels.items()]
  report.write(output, sections, describe_machines(sections), shlex.join(
      ["l2l-reproduce", *given_flags()]))
  write_rates(output, sections)
  return sections


def num_processes(num_jobs: int) -> int:
  """Returns how many jobs run side by side."""
  if devices.has_gpu():
    return 1  # Each takes all of its memory.
  return min(devices.num_cores(), num_jobs)


def choose() -> dict[str, table.Panel]:
  """Returns the panels that the flags ask for.

  Raises:
    ValueError: A flag is out of its range.
  """
  panels = table.select(FLAGS.panels)
  needs_data = any(setting.split for panel in panels.values()
                   for setting in panel.settings.values())
  if FLAGS.retrain and needs_data and not data_flags(FLAGS.data_dir):
    raise ValueError("--retrain needs the data: add --data_dir or --download.")
  if FLAGS.quick:
    panels = {key: table.quick(panel) for key, panel in panels.items()}
  if FLAGS.runs is None:
    return panels
  num_runs = checks.positive_integer("--runs", FLAGS.runs)
  return map_settings(
      panels, lambda setting: setting._replace(num_runs=num_runs))


def map_settings(panels: Mapping[str, table.Panel],
                 function: Callable[[table.Setting], table.Setting]
                 ) -> dict[str, table.Panel]:
  """Returns panels with changed settings."""
  return {key: panel._replace(settings={
      label: function(setting) for label, setting in panel.settings.items()})
          for key, panel in panels.items()}


def with_networks_of(panels: Mapping[str, table.Panel],
                     output: str) -> dict[str, table.Panel]:
  """Returns panels with networks that are trained in the output folder."""
  return map_settings(panels, lambda setting: setting._replace(learned={
      name: os.path.join(os.path.abspath(output), "trained", path)
      for name, path in setting.learned.items()}))


def make_trainings(panels: Mapping[str, table.Panel]) -> dict[str, jobs.Job]:
  """Returns the job that trains each network, by its folder.

  Networks with the same first stage share a job, in which each stage is made
  once.
  """
  paths_of = {folder: stage_folders(folder) for folder in sorted({
      folder for panel in panels.values()
      for setting in panel.settings.values()
      for folder in setting.learned.values()})}
  groups: dict[str, list[str]] = {}  # The folders with the same first stage.
  for folder, paths in paths_of.items():
    groups.setdefault(paths[0], []).append(folder)
  made: dict[str, jobs.Job] = {}
  for group in groups.values():
    flags_of: dict[str, list[str]] = {}  # By the folder of the stage.
    for folder in group:
      before = None
      for stage, path in zip(
          training_of(folder).stages, paths_of[folder], strict=True):
        flags_of.setdefault(path, training_flags(stage, path, before))
        before = path
    cost = 60. * max(training_of(folder).minutes for folder in group)
    *_, last = flags_of  # The folder of a network, not of a stage.
    made |= dict.fromkeys(group, jobs.Job(
        last, cost, jobs.train, ([*flags_of.values()], cost), f"{last}.log"))
  return made


def training_of(folder: str) -> trainings.Training:
  """Returns how the network of a folder is trained."""
  return trainings.TRAINING[os.path.basename(folder)]


def stage_folders(folder: str) -> list[str]:
  """Returns the folders of the stages of a training, which ends in the last.

  A stage has the name of the network that it completes, or of its settings.
  """
  names = {records.key(training.stages): name
           for name, training in trainings.TRAINING.items()}
  stages = training_of(folder).stages
  keys = [records.key(stages[:i]) for i in range(1, len(stages) + 1)]
  return [os.path.join(os.path.dirname(folder), names.get(key, f"stage-{key}"))
          for key in keys]


def training_flags(stage: Mapping[str, Any], folder: str,
                   init: str | None) -> list[str]:
  """Returns the flags of a stage that is saved in a folder."""
  return [*(f"--{flag}={value}" for flag, value in stage.items()),
          f"--save_path={folder}", "--resume", *data_flags(FLAGS.data_dir),
          *([f"--init={init}"] if init else [])]


def plan(panels: Mapping[str, table.Panel], output: str) -> Comparisons:
  """Returns what to compute; its folders are named by what determines it."""
  known = table.known_rates() if FLAGS.quick else {}
  data_dir = FLAGS.data_dir and os.path.abspath(files.expand(FLAGS.data_dir))
  comparisons: Comparisons = {}
  for key, panel in panels.items():
    comparisons[key] = {}
    for label, setting in panel.settings.items():
      rates = known.get(key, {}).get(label, {})
      name = "-".join([key, label]) if label else key
      # Optimizers are told apart within the folder: when one changes or is
      # added, the runs of the others stay. More runs are added to those in it.
      common = setting._replace(learned={}, hand_designed=(), num_runs=0)
      comparisons[key][label] = comparison_lib.Comparison(
          setting, panel.draws, rates, data_dir, FLAGS.download,
          {learned: fingerprint(path)
           for learned, path in setting.learned.items()},
          os.path.join(output, "results", "-".join([name, records.key(
              common._asdict(), rates, panel.draws)])))
  return comparisons


def fingerprint(path: str) -> str:
  """Returns what tells trained networks from others."""
  try:
    return records.fingerprint(pretrained_networks.find(path))
  except FileNotFoundError:
    return ""  # Computing the runs will then fail.


def make_jobs(comparisons: Comparisons) -> list[jobs.Job]:
  """Returns a job for each comparison that is not complete."""
  return [jobs.Job(c.folder, c.cost_left, comparison_lib.compute, (c,),
                   os.path.join(c.folder, "log.txt"))
          for of_panel in comparisons.values() for c in of_panel.values()
          if not c.is_complete]


def find_error(
    errors: Mapping[str, str],
    comparisons: Mapping[str, comparison_lib.Comparison]) -> str | None:
  """Returns why a panel failed, or None."""
  names = [name for c in comparisons.values()
           for name in (*c.setting.learned.values(), c.folder)]
  return next((errors[name] for name in names if name in errors), None)


def describe_machines(sections: Sequence[report.Section]) -> list[str]:
  """Returns what computed the results, and with which software."""
  return sorted({f"{record.machine} ({record.versions})"
                 for section in sections
                 for of_setting in section.records.values()
                 for record in of_setting.values()})


def write_rates(output: str, sections: Sequence[report.Section]) -> None:
  """Writes the best options of hand-designed optimizers, for --quick."""
  files.write_json(os.path.join(output, "rates.json"), {
      section.key: {
          label: {name: record.options for name, record in of_setting.items()
                  if record.options}
          for label, of_setting in section.records.items()}
      for section in sections})


def data_flags(data_dir: str | None) -> list[str]:
  """Returns the flags of the data sets."""
  return [*([f"--data_dir={data_dir}"] if data_dir else []),
          *(["--download"] if FLAGS.download else [])]


def given_flags() -> list[str]:
  """Returns the flags that determine the page."""
  return [
      *data_flags(FLAGS.data_dir and "DIR"),
      *([f"--panels={','.join(FLAGS.panels)}"] if FLAGS.panels else []),
      *([f"--runs={FLAGS.runs}"] if FLAGS.runs else []),
      *(f"--{flag}" for flag in ("retrain", "quick") if FLAGS[flag].value)]


def run() -> None:
  """Runs the program."""
  program.run(main)
