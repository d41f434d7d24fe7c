"""Whether peers are well: what is counted, and the built-in ways to ask."""
