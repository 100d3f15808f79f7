"""Tests of the optimizer for custom training loops."""

import collections
import pathlib
import tempfile

from absl.testing import absltest, parameterized
import numpy as np
import sonnet as snt
import tensorflow as tf

import meta
from meta import unroll
import networks
from tests import devices, toys
from tests.toy_training import (
  NET,
  STEPS,
  FolderTest,
  fit,
  loop,
  make_model,
  save_networks,
  x,
  y,
)

setUpModule = devices.start


def losses_on_replicas(path):
  """The losses in a loop and in Keras, whose replicas share out the batch."""
  strategy = tf.distribute.get_strategy()
  model, optimizer = make_model(), meta.LearnedOptimizer.load(path)

  def step(x, y):
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum((model(x) - y)**2) / 16
    variables = model.trainable_variables
    optimizer.apply(tape.gradient(loss, variables), variables)
    return loss

  run = tf.function(lambda *args: strategy.reduce(
      "SUM", strategy.run(step, args), axis=None), autograph=False)
  data = strategy.experimental_distribute_dataset(
      tf.data.Dataset.from_tensor_slices((x, y)).batch(len(x)).repeat(STEPS))
  by_keras = make_model()
  by_keras.compile(meta.KerasLearnedOptimizer(path), "mse")
  return [float(run(*batch)) for batch in data], fit(by_keras)


class LearnedOptimizerTest(FolderTest):

  def test_gradients_of_unknown_shape_are_those_of_their_parameters(self):
    variables = [tf.Variable(tf.ones([n])) for n in (2, 3)]
    optimizer = meta.LearnedOptimizer.load(self.path)

    @tf.function
    def apply():
      optimizer.apply([tf.numpy_function(
          lambda n=n: np.ones(n, np.float32), [], tf.float32)
                       for n in (2, 3)], variables)

    apply()
    np.testing.assert_allclose(variables[0], variables[1][:2])
    self.assertNotEqual(variables[0][0], 1.)

  def test_updates_are_those_of_the_unroll(self):
    self.compile_up_to(100)
    problem = toys.Regression()
    network, = meta.LearnedOptimizer.load(self.path).networks.values()
    run = unroll.start(network, problem, 0)
    variables = {name: tf.Variable(p, name=name)
                 for name, p in run.params.items()}
    optimizer = meta.LearnedOptimizer.load(self.path)
    for _ in range(STEPS):
      _, gradients = unroll.loss_and_gradients(problem, run)
      _, run = unroll.step(network, problem, run)
      optimizer.apply(gradients.values(), [variables[n] for n in gradients])
    for name, p in run.params.items():
      np.testing.assert_allclose(variables[name], p, rtol=1e-5, atol=1e-7)

  @parameterized.parameters({"autograph": True}, {"jit_compile": True})
  def test_losses_are_the_same_in_a_function(self, **options):
    self.compile_up_to(100)
    np.testing.assert_allclose(
        loop(meta.LearnedOptimizer.load(self.path), make_model(), **options),
        loop(meta.LearnedOptimizer.load(self.path), make_model()), rtol=1e-5)

  @parameterized.parameters("float16", "bfloat16", "float64")
  def test_update_is_that_of_float32_in_the_type_of_the_parameter(self, dtype):
    gradient = tf.constant([0.5, -2., 2.**-10])  # Exact in all of them.
    expected = tf.Variable(tf.zeros([3]))
    meta.LearnedOptimizer.load(self.path).apply([gradient], [expected])
    parameter = tf.Variable(tf.zeros([3], dtype))
    meta.LearnedOptimizer.load(self.path).apply(
        [tf.cast(gradient, dtype)], [parameter])
    np.testing.assert_array_equal(
        tf.cast(parameter, tf.float32),
        tf.cast(tf.cast(expected, dtype), tf.float32))

  @parameterized.parameters("float16", "bfloat16")
  def test_gradient_of_another_type_does_not_round_the_update(self, dtype):
    updates = []
    for gradient in (tf.constant([0.5, -2.]), tf.constant([0.5, -2.], dtype)):
      parameter = tf.Variable(tf.zeros([2]))
      meta.LearnedOptimizer.load(self.path).apply([gradient], [parameter])
      updates.append(parameter.numpy())
    np.testing.assert_array_equal(*updates)

  def test_parameter_without_a_gradient_is_left_as_it_is(self):
    parameters = [tf.Variable([1., 2.]), tf.Variable([1., 2.])]
    alone = tf.Variable([1., 2.])
    optimizer, other = (
        meta.LearnedOptimizer.load(self.path) for _ in range(2))
    for gradient in ([1., 0.1], [0.3, -2.]):
      optimizer.apply([None, tf.constant(gradient)], parameters)
      other.apply([tf.constant(gradient)], [alone])
    np.testing.assert_array_equal(parameters[0], [1., 2.])
    np.testing.assert_array_equal(parameters[1], alone)
    self.assertLen(optimizer.states, 1)

  @parameterized.parameters(0.5, 0.)
  def test_learning_rate_is_a_factor_of_the_updates(self, rate):
    updates = []
    for learning_rate in (1., rate, tf.Variable(rate)):
      parameter = tf.Variable([0., 0.])
      meta.LearnedOptimizer.load(self.path, learning_rate=learning_rate).apply(
          [tf.constant([1., -1e-3])], [parameter])
      updates.append(parameter.numpy())
    self.assertTrue(updates[0].all())
    np.testing.assert_allclose(updates[1], rate * updates[0], rtol=1e-6)
    np.testing.assert_array_equal(updates[1], updates[2])

  @parameterized.parameters(
      None, "0.1", float("nan"), True, lambda: 0.1,
      tf.keras.optimizers.schedules.PolynomialDecay(1., 10))
  def test_learning_rate_that_is_no_number_is_refused(self, rate):
    with self.assertRaisesRegex(
        ValueError, "learning_rate is .*, but must be a finite number, or a"):
      meta.LearnedOptimizer.load(self.path, learning_rate=rate)

  def test_vector_of_learning_rates_is_refused(self):
    with self.assertRaisesRegex(ValueError, "learning_rate is .* scalar"):
      meta.LearnedOptimizer.load(
          self.path, learning_rate=tf.Variable([0.1, 0.2]))

  def test_module_that_has_an_optimizer_does_not_train_its_weights(self):
    module = snt.Module()
    module.parameter = tf.Variable(1.)
    module.optimizer = meta.LearnedOptimizer.load(self.path)
    module.guard = meta.Guard(module.optimizer)
    module.optimizer.apply([1.], [module.parameter])
    self.assertEqual(module.trainable_variables, (module.parameter,))

  def test_reset_is_a_fresh_start(self):
    optimizer, model = meta.LearnedOptimizer.load(self.path), make_model()
    weights = model.get_weights()
    expected = loop(optimizer, model)
    model.set_weights(weights)
    self.assertNotEqual(loop(optimizer, model), expected)
    model.set_weights(weights)
    optimizer.reset()
    self.assertEqual(loop(optimizer, model), expected)

  def test_refused_step_changes_nothing(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    save_networks(folder, [("cw", ["u"])])
    u, w = tf.Variable(0., name="u"), tf.Variable(0., name="w")
    optimizer = meta.LearnedOptimizer.load(folder)
    with self.assertRaisesRegex(ValueError, "No network is assigned .*'w'"):
      optimizer.apply([tf.constant(1.)] * 2, [u, w])
    self.assertEqual(float(u), 0.)

  @parameterized.parameters(
      ({"net": "Nope"}, "net is 'Nope', but must be one of"),
      ({"net": "Adam"}, "net is 'Adam', but must be 'CoordinateWiseDeepLSTM'"),
      (NET | {"net_options": {"layers": (9,)}},
       r"was trained with layers=\[4, 3\], but net_options has layers=\[9\]"))
  def test_weights_for_other_options_are_refused(self, config, message):
    with self.assertRaisesRegex(ValueError, message):
      meta.LearnedOptimizer.load(self.path, {"cw": config})
    with self.assertRaisesRegex(ValueError, message):
      meta.KerasLearnedOptimizer(self.path, net_config={"cw": config})

  @parameterized.parameters(False, True)
  def test_rows_of_an_embedding_without_gradients_stay(self, jit_compile):
    start = np.arange(10.).reshape(5, 2)
    steps = [([3, 1, 3], [[1., 2.], [3., -4.], [5., 6.]]),
             ([1, 4], [[2., 2.], [1., 0.]])]
    table = tf.Variable(start, dtype=tf.float32)
    sparse = meta.LearnedOptimizer.load(self.path, learning_rate=0.5)

    @tf.function(jit_compile=jit_compile)
    def apply(indices, values):
      sparse.apply([tf.IndexedSlices(values, indices, tf.constant([5, 2]))],
                   [table])

    rows = {i: tf.Variable(start[i], dtype=tf.float32) for i in range(5)}
    dense = {i: meta.LearnedOptimizer.load(self.path, learning_rate=0.5)
             for i in range(5)}
    for indices, values in steps:
      apply(tf.constant(indices), tf.constant(values))
      sums = collections.defaultdict(lambda: np.zeros(2, np.float32))
      for i, value in zip(indices, values, strict=True):
        sums[i] = sums[i] + np.float32(value)
      for i, gradient in sums.items():
        dense[i].apply([tf.constant(gradient)], [rows[i]])
    np.testing.assert_allclose(table, np.stack(list(rows.values())), rtol=1e-5)
    np.testing.assert_array_equal(table[0], start[0])
    self.assertTrue(np.all(table.numpy()[[1, 3, 4]] != start[[1, 3, 4]]))

  @parameterized.parameters(False, True)
  def test_rows_that_are_constants_may_be_there_twice(self, jit_compile):
    """They are in the relative positions of an attention layer, for example."""
    rows = np.array([3, 1, 3])
    tables = [tf.Variable(tf.reshape(tf.range(8.), [4, 2])) for _ in range(2)]
    for table, function in zip(tables, (
        tf.gather, lambda table, rows: tf.one_hot(rows, 4) @ table)):
      optimizer = meta.LearnedOptimizer.load(self.path)

      @tf.function(autograph=False, jit_compile=jit_compile)
      def step(table=table, function=function, optimizer=optimizer):
        with tf.GradientTape() as tape:
          loss = tf.reduce_sum(tf.sin(function(table, rows)))
        optimizer.apply([tape.gradient(loss, table)], [table])

      step()
    np.testing.assert_allclose(tables[0][1::2], tables[1][1::2], rtol=1e-5)
    np.testing.assert_array_equal(tables[0][::2], [[0, 1], [4, 5]])

  def test_keras_updates_the_same_rows_of_an_embedding(self):
    def gradient():
      return tf.IndexedSlices(
          tf.constant([[1., 2.]]), tf.constant([2]), tf.constant([4, 2]))

    table = tf.Variable(tf.ones([4, 2]))
    meta.LearnedOptimizer.load(self.path).apply([gradient()], [table])
    keras_table = tf.keras.Variable(tf.ones([4, 2]))
    meta.KerasLearnedOptimizer(self.path).apply([gradient()], [keras_table])
    np.testing.assert_array_equal(keras_table.numpy(), table)
    np.testing.assert_array_equal(table[1], [1., 1.])

  def test_networks_optimize_the_parameters_assigned_to_them(self):
    rates = {"slow": 0.5, "fast": 2.}
    nets = {key: {"net": "Sgd", "net_options": {"learning_rate": rate}}
            for key, rate in rates.items()}
    folder = self.enter_context(tempfile.TemporaryDirectory())
    saved = [("slow", ["u"]), ("fast", ["v", "u"])]
    save_networks(folder, saved, **nets)
    for given, expected in ((None, [-2.5, -2.]),
                            ([("slow", ["v"]), ("fast", ["u"])], [-2., -0.5])):
      parameters = [tf.Variable(0., name=name) for name in "uv"]
      meta.LearnedOptimizer.load(folder, net_assignments=given).apply(
          [tf.ones([])] * 2, parameters)
      self.assertEqual([float(p) for p in parameters], expected)
    with self.assertRaisesRegex(ValueError, "No network is assigned to the "
                                "parameter 'w': give net_assignments"):
      meta.LearnedOptimizer.load(folder).apply(
          [tf.ones([])], [tf.Variable(0., name="w")])

  def test_longest_end_of_a_name_counts(self):
    nets = {key: networks.Sgd(rate) for key, rate in (
        ("all", 1.), ("dense", 2.), ("head", 4.))}
    optimizer = meta.LearnedOptimizer(nets, [
        ("all", ["kernel", "bias"]), ("dense", ["dense/kernel"]),
        ("head", ["head/dense/kernel", "bias"])])
    parameters = [tf.Variable(0., name=name) for name in (
        "kernel", "adense/kernel", "dense/kernel", "head/dense/kernel", "bias")]
    optimizer.apply([tf.ones([])] * 5, parameters)
    self.assertEqual([float(p) for p in parameters], [-1., -1., -2., -4., -5.])

  def test_shard_that_is_no_boolean_is_refused(self):
    with self.assertRaisesRegex(
        ValueError, "^shard is 'no', but must be True, False or None"):
      meta.LearnedOptimizer.load(self.path, shard="no")

  def test_weights_of_float64_are_refused(self):
    network = networks.CoordinateWiseDeepLSTM((2,))
    network.initial_state({"x": tf.zeros([1], tf.float64)})
    variable = tf.Variable([1.], dtype=tf.float64)
    with self.assertRaisesRegex(
        ValueError, "must be of type float64, as the weights .*it is given"):
      meta.LearnedOptimizer({"cw": network}).apply([variable], [variable])

  def test_kernels_are_refused_by_their_shape(self):
    folder = self.enter_context(tempfile.TemporaryDirectory())
    optimizer = meta.MetaOptimizer(conv={
        "net": "KernelDeepLSTM",
        "net_options": {"kernel_shape": (3, 2), "layers": (4,)}})
    optimizer.networks["conv"].initial_state({"w": tf.zeros([3, 2, 1, 1])})
    optimizer.save(folder)
    with self.assertRaisesRegex(ValueError, r"kernel_shape \(3, 2\), but a"):
      meta.LearnedOptimizer.load(folder).apply(
          [tf.zeros([2])], [tf.Variable(tf.zeros([2]))])

  def test_old_file_needs_to_be_told_what_it_is(self):
    path = str(toys.DATA / "legacy" / "cw_logsign")
    with self.assertRaisesRegex(ValueError, "does not say what its network is"):
      meta.LearnedOptimizer.load(path)
    config = {"net": NET["net"], "net_options": {
        "layers": (20, 20), "preprocess_name": "LogAndSign",
        "preprocess_options": {"k": 5}, "scale": 0.01}}
    parameter = tf.Variable([1., 2.])
    meta.LearnedOptimizer.load(path, {"cw": config}).apply(
        [tf.ones([2])], [parameter])
    self.assertNotEqual(float(parameter[0]), 1.)
    config["net_options"]["layers"] = (5, 5)
    with self.assertRaisesRegex(ValueError, "belong to a network of other"):
      meta.LearnedOptimizer.load(path, {"cw": config}).apply(
          [tf.ones([2])], [parameter])

  @parameterized.parameters(
      ([], [], "Got 0 gradients for 0 parameters"),
      ([1.], [1., 2.], "Got 1 gradients for 2 parameters"),
      ([None], [1.], r"All gradients are None: .* parameters \['v'\]"),
      ([[1., 2.]], [1.], r"The gradient of 'v' has shape \(2,\)"),
      ([1.], [1], "The parameter 'v' is of type int32"),
      ([1], [1.], "The gradient of 'v' is of type int32"))
  def test_bad_input_is_told(self, gradients, values, message):
    with self.assertRaisesRegex(ValueError, message):
      meta.LearnedOptimizer.load(self.path).apply(
          [None if g is None else tf.constant(g) for g in gradients],
          [tf.Variable(v, name="v") for v in values])

  def test_lists_are_asked_for(self):
    optimizer = meta.LearnedOptimizer.load(self.path)
    variable = tf.Variable([1., 2.])
    for gradients, parameters in (
        (tf.ones([2]), variable), ([tf.ones([2])], variable),
        (tf.ones([1, 2]), [variable])):
      with self.assertRaisesRegex(
          ValueError, r"^Got a single .*: apply\(\[gradient\], \[param"):
        optimizer.apply(gradients, parameters)

  def test_parameter_that_is_given_twice_is_refused(self):
    parameter = tf.Variable([1.], name="v")
    with self.assertRaisesRegex(ValueError, r"given twice: .* \['v', 'v'\]"):
      meta.LearnedOptimizer.load(self.path).apply(
          [tf.ones([1])] * 2, [parameter] * 2)

  def test_variable_of_keras_and_its_value_are_one_parameter(self):
    parameter = tf.keras.Variable([1.], name="v")
    with self.assertRaisesRegex(ValueError, r"given twice: .* \['v', 'v'\]"):
      meta.LearnedOptimizer.load(self.path).apply(
          [tf.ones([1])] * 2, [parameter, parameter.value])

  def test_parameter_that_is_no_variable_is_refused(self):
    with self.assertRaisesRegex(ValueError, "A parameter is .* a variable"):
      meta.LearnedOptimizer.load(self.path).apply([[1.]], [tf.ones([1])])

  def test_scope_of_a_strategy_is_not_that_of_a_replica(self):
    parameter = tf.Variable(1.)
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
      with self.assertRaisesRegex(ValueError, r"Call it in the function that"):
        meta.LearnedOptimizer.load(self.path).apply([1.], [parameter])

  def test_parameter_of_no_shape_is_refused(self):
    parameter = tf.Variable([1.], name="v", shape=tf.TensorShape(None))
    with self.assertRaisesRegex(ValueError, "but its shape must be known"):
      meta.LearnedOptimizer.load(self.path).apply([tf.ones([1])], [parameter])

  def test_folder_of_no_optimizer_is_told(self):
    empty = self.enter_context(tempfile.TemporaryDirectory())
    with self.assertRaisesRegex(FileNotFoundError, "No trained optimizer in"):
      meta.LearnedOptimizer.load(empty)
    with self.assertRaisesRegex(
        FileNotFoundError, "No trained optimizer 'nowhere': there is no such "
        r"folder, and the .* are \[.*'paper-mnist'"):
      meta.LearnedOptimizer.load("nowhere")

  def test_broken_file_is_told(self):
    pathlib.Path(self.path, "cw.l2l").write_bytes(b"PK\x03\x04")
    with self.assertRaisesRegex(ValueError, "Cannot read the weight file"):
      meta.LearnedOptimizer.load(self.path)

  def test_two_devices_make_the_losses_of_one(self):
    expected = loop(meta.LearnedOptimizer.load(self.path), make_model())
    for losses in devices.run(2, losses_on_replicas, self.path):
      np.testing.assert_allclose(losses, expected, rtol=1e-5)

  def test_learning_rate_may_change_between_steps_of_a_function(self):
    rate, gradient = tf.Variable(0.), tf.constant([1., -1e-3])
    changing, plain = tf.Variable([0., 0.]), tf.Variable([0., 0.])
    optimizer, other = (meta.LearnedOptimizer.load(self.path, learning_rate=r)
                        for r in (rate, 1.))
    step = tf.function(lambda: optimizer.apply([gradient], [changing]))
    for value in (0.5, 0., 2.):
      before, plain_before = changing.numpy(), plain.numpy()
      rate.assign(value)
      step()
      other.apply([gradient], [plain])
      np.testing.assert_allclose(
          changing - before, value * (plain - plain_before),
          rtol=1e-4, atol=1e-7)

  def test_assignments_in_place_of_a_configuration_are_refused(self):
    with self.assertRaisesRegex(
        ValueError, r"^net_config is \[\('conv', \['w'\]\)\], but must be a "
        "dictionary .* net_assignments is another argument"):
      meta.LearnedOptimizer.load(self.path, [("conv", ["w"])])


if __name__ == "__main__":
  absltest.main()
