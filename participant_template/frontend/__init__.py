"""A second page for the app, made with Streamlit."""
