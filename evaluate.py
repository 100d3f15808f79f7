"""Evaluates optimizers, learned and hand-designed, on a problem."""

from l2lgd.commands import evaluate

if __name__ == "__main__":
  evaluate.run()
