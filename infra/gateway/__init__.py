"""The gateway: one description of what is reachable and how (description.py), rendered for Envoy (envoy.py)."""
