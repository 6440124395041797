"""What runs the platform: local services and the command line, gateway, containers, observability, sandboxes."""
