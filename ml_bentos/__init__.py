"""What a model is: network, preprocessing, evaluation and BentoML service, apart from any domain that uses it."""
