"""Plans the memory of a run before anything is downloaded or loaded: what a step needs, what fits, and how to need less."""
