"""The branch domain: what a branch is, who runs it, what its managers decide about, and what kind of place it is.

It keeps its own copies of verdicts, reviews, visits and faults as it hears of them, and asks no other domain's database.
"""
