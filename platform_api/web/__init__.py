"""Pages for people, rendered here and served beside the APIs."""
