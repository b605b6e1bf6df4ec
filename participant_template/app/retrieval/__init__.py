"""Search in documents: what is found is sent to the model along with the question."""
