"""Trains networks to optimize a problem."""

from l2lgd.commands import train

if __name__ == "__main__":
  train.run()
