"""How a model learns: loss, optimizer, schedule, step, loop and evaluation."""
