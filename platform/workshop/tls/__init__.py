"""TLS at the edge: what the roster says, where the certificate comes from, when it goes live."""
