"""How far the platform goes: what each part must do from one gym to ten thousand, and what it can, reckoned and simulated.

`figures.json` is the one place of measured and assumed figures; settings are read from the product itself. `capacity.md` is
for people: its tables are made from here (`python -m infra.capacity document`), and a check proves that they are.
"""
