"""Tests of several networks as one."""

from absl.testing import absltest, parameterized
import numpy as np
import tensorflow as tf

from networks import baselines, partition
from tests import assertions, toys

T = 3
RNG = np.random.default_rng(0)
GRADIENTS = {name: RNG.normal(size=(T, *shape)).astype(np.float32)
             for name, shape in (("w", (2, 3)), ("a", (3,)), ("v", ()))}


def part(*names):
  return {name: GRADIENTS[name] for name in names}


class PartitionTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.networks = {"one": toys.coordinatewise(), "adam": baselines.Adam(0.1),
                     "sgd": baselines.Sgd(0.5)}

  def steps(self, assignments, gradients=None):
    return toys.steps(partition.Partition(self.networks, assignments),
                      gradients or GRADIENTS)

  def alone(self, key, *names):
    return toys.steps(self.networks[key], part(*names))[0]

  def test_the_only_network_gets_all(self):
    network = partition.Partition({"one": self.networks["one"]})
    updates, _ = toys.steps(network, GRADIENTS)
    assertions.assert_equal(updates, self.alone("one", *GRADIENTS))

  def test_each_network_gets_its_own(self):
    updates, state = self.steps([("adam", ["v", "w"]), ("one", ["a"])])
    assertions.assert_equal(
        updates, self.alone("adam", "v", "w") | self.alone("one", "a"))
    self.assertCountEqual(state, ["adam", "one"])

  def test_order_of_pairs_names_and_parameters_does_not_matter(self):
    one, _ = self.steps([("one", ["v", "w"]), ("adam", ["a"])])
    two, _ = self.steps([("adam", ["a"]), ("one", ["w", "v"])],
                        dict(reversed(GRADIENTS.items())))
    assertions.assert_equal(one, two)

  def test_unassigned_parameters_stay_put(self):
    updates, _ = self.steps([("adam", ["v"])])
    assertions.assert_equal(updates, self.alone("adam", "v") | {
        "w": np.zeros([T, 2, 3]), "a": np.zeros([T, 3])})

  def test_two_networks_on_one_parameter_add_up(self):
    updates, _ = self.steps([("adam", ["v", "w"]), ("sgd", ["w", "a"])])
    np.testing.assert_allclose(
        updates["w"], self.alone("adam", "w")["w"] - 0.5 * GRADIENTS["w"],
        rtol=1e-6)
    np.testing.assert_array_equal(updates["a"], self.alone("sgd", "a")["a"])

  def test_networks_without_ids_are_refused(self):
    with self.assertRaisesRegex(
        ValueError, "^The networks are Coord.*, but must be a dictionary of n"):
      partition.Partition(toys.coordinatewise())

  @parameterized.parameters(("general",), ({"net": "Adam"},))
  def test_what_is_no_network_is_refused(self, value):
    with self.assertRaisesRegex(ValueError, "must be a dictionary of networks"):
      partition.Partition({"cw": value})

  def test_assigning_nothing_is_refused(self):
    with self.assertRaisesRegex(ValueError, "no parameters to.*'sgd'"):
      self.steps([("adam", ["v", "w", "a"]), ("sgd", [])])

  def test_trainable_variables_are_those_of_all_networks(self):
    self.networks["two"] = toys.coordinatewise(seed=1)
    network = partition.Partition(
        self.networks, [("one", ["w"]), ("two", ["a"])])
    toys.steps(network, GRADIENTS)
    self.assertCountEqual(
        [id(v) for v in network.trainable_variables],
        [id(v) for key in ("one", "two")
         for v in self.networks[key].trainable_variables])
    self.assertLen(network.trainable_variables, 12)

  def test_unknown_network_is_named(self):
    with self.assertRaisesRegex(
        ValueError, r"names the network 'two', but the networks are \['adam', "
        r"'one', 'sgd'\]"):
      partition.Partition(self.networks, [("two", ["w"])])

  def test_repeated_network_is_named(self):
    with self.assertRaisesRegex(ValueError, "the network 'one' twice"):
      partition.Partition(self.networks, [("one", ["w"]), ("one", ["a"])])

  @parameterized.parameters([["one", "adam"]], [[]])
  def test_several_networks_or_none_need_assignments(self, keys):
    with self.assertRaisesRegex(
        ValueError, "net_assignments is None, but the networks are"):
      partition.Partition({key: self.networks[key] for key in keys})

  def test_assignments_must_not_be_empty(self):
    with self.assertRaisesRegex(ValueError, "net_assignments is empty"):
      partition.Partition(self.networks, [])

  @parameterized.parameters("b", [[("b", "y")]], [[("b",)]], [{"b": ["y"]}])
  def test_anything_but_pairs_is_refused(self, assignments):
    with self.assertRaisesRegex(ValueError, "net_assignments has .* be pairs"):
      partition.Partition({"b": baselines.Sgd()}, assignments)

  def test_pair_in_the_wrong_order_is_refused(self):
    with self.assertRaisesRegex(
        ValueError, r"^net_assignments names the network \['b'\], but"):
      partition.Partition({"b": baselines.Sgd()}, [(["b"], ["b"])])

  def test_iterator_that_can_be_read_once_is_refused(self):
    with self.assertRaisesRegex(ValueError, "^net_assignments is .* be pairs"):
      partition.Partition({"b": baselines.Sgd()}, zip("b", [["y"]]))

  def test_learning_rate_in_their_place_is_refused(self):
    with self.assertRaisesRegex(
        ValueError, r"^net_assignments is 0\.1, .* given as learning_rate="):
      partition.Partition({"b": baselines.Sgd()}, 0.1)

  def test_unknown_parameter_is_named(self):
    network = partition.Partition(self.networks, [("one", ["w", "x"])])
    with self.assertRaisesRegex(
        ValueError, r"gives \['x'\] to network 'one', but the parameters are "
        r"\['a', 'v', 'w'\]"):
      network.initial_state(
          {name: tf.constant(g[0]) for name, g in GRADIENTS.items()})


if __name__ == "__main__":
  absltest.main()
