"""Web clients of the platform: customers, helpers, branch managers and operations, as server-rendered pages.

A process of its own with no database. It speaks to the domains as any other client does, by their public REST APIs with the
token of whoever is signed in, so every rule and every right is decided in one place, and a page can show no more than the API.
"""
