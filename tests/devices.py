"""Processes in which the processor is several devices."""

import contextlib

import tensorflow as tf

from tests import processes

start = processes.start


def run(num, function, *args):
  """What a function returns in the scope of a strategy on `num` devices.

  It runs in a process of its own, as TensorFlow has one strategy in each. With
  0 devices, there is no strategy.
  """
  reader, writer = processes.PROCESSES.Pipe(duplex=False)
  process = processes.PROCESSES.Process(
      target=_send, args=(writer, num, function, *args))
  process.start()
  writer.close()
  result = reader.recv()
  process.join()
  return result


def _send(writer, num, function, *args):
  scope = contextlib.nullcontext()
  if num:
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * num)
    scope = tf.distribute.MirroredStrategy(
        [f"CPU:{i}" for i in range(num)]).scope()
  with scope:
    writer.send(function(*args))
