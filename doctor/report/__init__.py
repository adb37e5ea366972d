"""What a run found, as a person or a program reads it: console, JSON, Markdown."""
