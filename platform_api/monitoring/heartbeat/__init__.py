"""The heartbeat server: equipment connects by TCP and TLS and sends a signed line every ten minutes, or when in trouble.

It stands open to whatever is on that network, so it trusts nobody until a line has been verified: every connection has a
time by which it must have brought one, lines are bounded, connections are counted by address, and when the house is full
the oldest stranger goes, not the next who knocks.
"""
