"""The instructor's side of the class's language models: options, keys, configuration, usage."""
