"""A gateway under mixed traffic while everything changes and fails around it: what must hold after any time."""
