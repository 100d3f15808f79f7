"""Readers of data sets: they return arrays, and download public files."""

from problems.datasets import cifar10, content_images, images, mnist, vgg19

__all__ = ["cifar10", "content_images", "images", "mnist", "vgg19"]
