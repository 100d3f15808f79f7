"""The part of the package's description that pyproject.toml cannot state."""

import pathlib

import setuptools

# One list serves development and the package, which does not need pytest.
_requirements = pathlib.Path(__file__).with_name("requirements.txt")
_lines = _requirements.read_text(encoding="utf-8").splitlines()

setuptools.setup(
    packages=[
        *setuptools.find_packages(
            include=["l2lgd*", "meta*", "networks*", "problems*"]),
        "meta.trained",  # Data: the folder trained/, see pyproject.toml.
    ],
    install_requires=[
        line for line in _lines if line and not line.startswith(("#", "pytest"))
    ])
