"""Images that were pushed or chosen: looked at, fetched by digest, and made the platform's own."""
