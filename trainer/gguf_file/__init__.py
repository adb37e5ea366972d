"""Writes a model as a GGUF file, the format of llama.cpp and of programs that contain it, such as LM Studio and Ollama."""
