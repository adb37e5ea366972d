"""Training and generation on the fastest attention backend that this machine really has."""
