"""Stand-ins for what a gym buys from others (card company, gate controller): real HTTPS servers, for local runs and tests.

The product never imports them; it meets them over the network as it would the real ones.
"""
