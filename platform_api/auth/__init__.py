"""Who a member is: account, card identity, sessions, roles, consents and enrolled faces.

The domain owns the database `sf_auth`. Others learn of members by its events only; a template leaves it over one
internal, service-authenticated route, and never in an event.
"""
