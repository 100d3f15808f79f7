"""The paper's figures: what they are made of, and how they are made again."""
