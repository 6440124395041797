"""The whole platform on one machine: embedded services, a supervisor and the command `smartfit`."""
