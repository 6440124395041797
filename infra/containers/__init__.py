"""Containers: the images, the Compose installation, and what it needs before its first start."""
