"""The face model: from crops of those who agreed to the version that serves."""
