"""A stand-in for `aios train` that writes records of steps whose time follows from its settings."""

import json
import os
import signal
import sys
from pathlib import Path

import yaml

config = yaml.safe_load(Path(sys.argv[-1]).read_text(encoding="utf-8"))
training, model = config["training"], config["model"]
size, parts = training["batch_size"], training["gradient_accumulation_steps"]
log = Path(config["output"]["log_file"])
chunk = training.get("chunk_size") if training["use_chunked_training"] else None
seconds = parts * (1 + size * (1.3 if model["gradient_checkpointing"] else 1.0)) * (1.1 if chunk else 1.0)
memory = 100 * size * (0.5 if model["gradient_checkpointing"] else 1.0)
if memory > 1500:
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
if memory > 1100:
    sys.stderr.write("INFO: something\nError: A step needs about 1.2 GiB of memory.\n")
    sys.exit(2)
with log.open("a", encoding="utf-8") as file:
    start = {"event": "run_start", "step": 0, "memory": {"free": 1000, "used": 0}}
    file.write(json.dumps(start) + "\n")
    for step in range(1, 40):
        record = {
            "event": "train",
            "step": step,
            "step_seconds": 99 if step == 1 else seconds,
            "tokens": size * parts,
        }
        record |= {"peak_memory_bytes": memory, "backend": "sdpa", "window_size": None}
        file.write(json.dumps(record) + "\n")
