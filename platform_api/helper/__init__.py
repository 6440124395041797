"""The helper domain: work is handed in with photographs, judged, decided about, and paid for.

It keeps its own copies of what it hears of branches, members and verdicts, and asks no other domain's database. Money is
a double-entry ledger in whole won (`ledger`); nothing here holds a balance that could be edited.
"""
