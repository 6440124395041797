"""What every domain shares, and nothing of any domain.

`settings`, `clock`, `errors`, `encryption`, `http`, `telemetry` and `health` need no more than the base
installation, so that a gate node can use them without the packages of the REST APIs.
"""
