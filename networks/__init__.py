"""Optimizers, learned and hand-designed, behind one contract."""

from networks import preprocess
from networks.base import Network, Params, State
from networks.baselines import (
  Adagrad,
  Adam,
  Momentum,
  Nesterov,
  RMSProp,
  Rprop,
  Sgd,
)
from networks.coordinatewise import CoordinateWiseDeepLSTM
from networks.deep_lstm import StandardDeepLSTM
from networks.factory import factory, save
from networks.kernel import KernelDeepLSTM
from networks.lstm_with_gac import LSTMWithGAC
from networks.net_config import NetConfig
from networks.ntm_bfgs import NTMBFGS
from networks.partition import Assignments, Partition

__all__ = [
  "NTMBFGS", "Adagrad", "Adam", "Assignments", "CoordinateWiseDeepLSTM",
  "KernelDeepLSTM", "LSTMWithGAC", "Momentum", "Nesterov", "NetConfig",
  "Network", "Params", "Partition", "RMSProp", "Rprop", "Sgd",
  "StandardDeepLSTM", "State", "factory", "preprocess", "save",
]
