"""Which series exist: asked of the product's own registries and of the real programs, for the checks of rules and dashboards."""
