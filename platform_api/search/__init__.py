"""Search: finds a branch from a Korean sentence, and keeps what members say of branches."""
