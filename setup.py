"""Packaging. Metadata is in pyproject.toml; this file says only what TOML cannot."""

from setuptools import find_packages, setup

setup(
    # With package_dir given, an editable install puts this directory on sys.path. The import hook
    # it would use otherwise hides twisted/plugins from twisted.plugin, and `twistd kong-gateway` is gone.
    package_dir={"": "."},
    # Discovery would refuse the layout: twisted/ here is a directory of plugins, not a package of ours.
    packages=[*find_packages(include=["twisted_kong", "twisted_kong.*"]), "twisted.plugins"],
    package_data={"twisted_kong": ["py.typed"]},
)
