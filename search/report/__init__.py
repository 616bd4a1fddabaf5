"""What people are shown: figures, tables and words, as HTML, Markdown and in the dashboard."""
