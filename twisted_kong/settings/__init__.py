"""kong.conf, the environment and the command line, made into one frozen `Settings`.

Kong's names, syntax and precedence (`Kong Gateway configuration reference, 3.9
<https://developer.konghq.com/gateway/configuration/>`_). Who wants to know a setting gets the `Settings`; nobody else
reads a file or the environment. Pure: nothing here opens a port, makes a directory or names Twisted.

- `conf`: the syntax of the file, lines to texts;
- `values`, `listeners`: the syntax of values, one text to one typed value;
- `declared`: every setting that has a value here, with its default and its meaning;
- `accepted`: the names Kong knows that have no effect here, and those that are refused;
- `loading`: what wins over what, and the one line that says what is wrong.
"""

from twisted_kong.settings.declared import Settings
from twisted_kong.settings.listeners import Listener
from twisted_kong.settings.loading import load
from twisted_kong.settings.values import TrustedPeers

__all__ = ["Listener", "Settings", "TrustedPeers", "load"]
