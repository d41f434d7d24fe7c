"""A gateway in several processes: workers, which serve clients, and one in charge of them.

- `channel`: how the two talk, message by message, over a Unix socket;
- `messages`: what they say (pure);
- `pool`: the workers as the process in charge knows them;
- `totals`: their counters, summed (pure);
- `store`: a store whose changes are in force with all of them;
- `orphans`: workers whose process in charge is gone, and who comes after it;
- `send_away`: ends them where nobody comes;
- `measured`: what Prometheus is told of them;
- `worker`, `__main__`: such a process. Its sockets (`twisted_kong.sockets`) outlive it.
"""
