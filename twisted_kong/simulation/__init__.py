"""What would happen: the gateway's own balancers and algorithms on a virtual clock, under a load that is described.

`load` says what is asked for, `world` lets it happen, `report` and `picture` tell of it, `sources` finds the upstream.
Nothing here is used by a running gateway.
"""
