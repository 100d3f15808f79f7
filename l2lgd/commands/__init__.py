"""The programs `l2l-train`, `l2l-evaluate` and `l2l-export`."""
