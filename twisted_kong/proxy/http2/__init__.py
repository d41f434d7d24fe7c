"""HTTP/2 on both sides of the proxy: streams of clients as downstreams, streams to peers as what attempts work with.

`heads` and `frames` are pure; `framed` is what both sides of a connection share; `server` and `client` are the two
sides, `pool` keeps the connections to peers, `choice` finds out what a client speaks. The `h2` library keeps the
protocol's state; what it is too harsh or too mild about is done here, and said so where it is done.
"""
