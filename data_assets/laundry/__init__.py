"""The photo judge: from what people decided to the version that serves."""
