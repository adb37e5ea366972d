"""`aios gui`: a local page over the commands of aios.

Each page starts the `aios` commands that it shows, as child processes, and reads their answers and records. Nothing is decided here.
"""
