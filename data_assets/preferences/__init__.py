"""What kind of place a branch is and what its members like."""
