"""Where containers run: one protocol, one real engine, one shipped fake."""
