"""The Dagster project: wiring only. What the assets do stands in data_assets."""
