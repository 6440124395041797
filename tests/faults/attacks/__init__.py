"""A package, so that the attacked platform is started once for the files of these tests."""
