"""The search index: keywords of reviews and pages, and the whole index built anew."""
