"""The edge: who is served where (routes), how nginx is told so (render), and how it goes live."""
