"""The process that brings notifications to the channels; as many may run as there is work for."""
