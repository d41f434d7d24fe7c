"""Where drop-in components are found: no module of ours is in here.

A drop-in is a module with factories of components at its top level. It belongs to this package wherever it lies: in a
directory ``twisted_kong/plugins`` (without an ``__init__.py``) of any place on ``sys.path``, as plugins of Twisted's
do, or in a directory that ``plugin_dirs`` names. What is found, and how, is the business of `twisted_kong.discovery`.
"""

from twisted.plugin import pluginPackagePaths

__path__ = [*__path__, *pluginPackagePaths(__name__)]

__all__: list[str] = []
