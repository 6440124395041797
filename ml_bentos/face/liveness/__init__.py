"""Liveness: is the face before the camera a living head, or a picture of one?

Two members behind one policy (`policy`): `passive` judges a single frame by its texture and surroundings and needs weights
that the operator gives; `active` asks for a turn of the head and needs none. Import the modules; this package imports
nothing by itself, so that a gate with liveness off pays nothing for it.
"""
