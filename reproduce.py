"""Makes the figures of the paper again, and a page of them."""

from l2lgd.commands import reproduce

if __name__ == "__main__":
  reproduce.run()
