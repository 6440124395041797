"""Demonstrations that use the running platform as its users do, over HTTPS, and print what came of it."""
