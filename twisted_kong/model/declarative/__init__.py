"""Declarative configuration: the whole of it in one document, in Kong's format (`kong.yml`).

A document becomes a configuration in steps, each a module of its own:

- `reading`: the text becomes a tree, within bounds, and its lines are found again;
- `layout`: the tree becomes a list of entities as they were sent, nested ones included;
- `identity`: each of them has an id, the same for the same document on every node;
- `expansion`: references are followed, entities are built by the schema, all faults are collected;
- `plan`: what they mean for the configuration there is becomes one change;
- `faults`: what is told where a document is refused;
- `export`: the way back, from a configuration to a document.

Everything is pure: nothing here opens a file, knows the time, or applies a change.
"""
