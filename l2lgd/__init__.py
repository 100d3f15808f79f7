"""What the packages share, and the command line in `l2lgd.commands`."""
