"""What the learning side keeps for a while only: runs and their logs, old versions of data sets."""
