"""The operational REST APIs: one Flask application factory, a package for each domain, and the core that they share."""
