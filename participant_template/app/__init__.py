"""The app every participant of the workshop starts from."""
