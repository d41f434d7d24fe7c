"""Packaging. Metadata is in pyproject.toml; this file says only what TOML cannot."""

import os

from setuptools import Extension, find_packages, setup

# Nothing but speed: without a compiler, or with TWISTED_KONG_PURE=1, Python does the same.
accelerator = Extension(
    "twisted_kong.proxy._accelerator",
    ["twisted_kong/proxy/_accelerator.c"],
    extra_compile_args=["-O3"] if os.name == "posix" else [],
    optional=True,
)

setup(
    # With package_dir given, an editable install puts this directory on sys.path. The import hook
    # it would use otherwise hides twisted/plugins from twisted.plugin, and `twistd kong-gateway` is gone.
    package_dir={"": "."},
    # Discovery would refuse the layout: twisted/ here is a directory of plugins, not a package of ours.
    packages=[*find_packages(include=["twisted_kong", "twisted_kong.*"]), "twisted.plugins"],
    package_data={"twisted_kong": ["py.typed"]},
    ext_modules=[] if os.environ.get("TWISTED_KONG_PURE", "0") not in ("", "0") else [accelerator],
)
