"""Optimizers, learned and designed by hand, behind one contract."""

from networks import preprocess
from networks.base import Network, Params, State
from networks.baselines import Adam, Sgd
from networks.factory import factory, save
from networks.lstm import (
                           CoordinateWiseDeepLSTM,
                           KernelDeepLSTM,
                           StandardDeepLSTM,
)
from networks.partition import Assignments, Partition

__all__ = [
    "Adam", "Assignments", "CoordinateWiseDeepLSTM", "KernelDeepLSTM",
    "Network", "Params", "Partition", "Sgd", "StandardDeepLSTM", "State",
    "factory", "preprocess", "save",
]
