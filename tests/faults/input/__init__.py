"""A package, so that pytest ends the platform of these tests when the last of them has run."""
