"""The gate node: from a frame to an open gate, on its own when the network is gone.

One process at the door of a branch. It decides from a local replica of the branch's members and rights, runs the
models in its own process, commands the gate's controller and keeps the log of entries until the centre has it.
Installable alone: `pip install smart-fitness[edge]`.
"""
