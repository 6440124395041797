"""The access domain at the centre: who may enter which branch, the full gallery of faces, and what happened at the gates.

The decision itself is made at the edge from a replica of what this domain owns; the change feed (`feed`) carries it
there. This domain keeps its own copy of what it hears of members and branches, and asks no other domain's database.
"""
