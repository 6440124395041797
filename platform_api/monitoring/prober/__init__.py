"""The prober: asks each item of equipment for an echo every ten seconds, and settles every doubt within a few more.

Several workers share the equipment by shards (`leases`). A worker holds its items in memory (`roster`), asks them when
they are due (`schedule`, `echo`), and writes down only what changes (`recorder`); dues that no echo brings up (missed
heartbeats, maintenance, the end of a probation) are looked for by `sweeper`. `worker` ties them together.
"""
