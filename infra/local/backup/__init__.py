"""Backup and restore of an installation (`smartfit backup`, `smartfit restore`)."""
