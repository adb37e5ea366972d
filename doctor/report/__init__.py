"""The output of the doctor: reports, plans, history and explanations, on a console, as Markdown, or as events."""
