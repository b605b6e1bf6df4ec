"""A chat page with Gradio."""
