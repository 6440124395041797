"""The gate node: frame to decision to gate, on its own when the network is gone."""
