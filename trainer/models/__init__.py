"""The models that are trained: transformers models and their weights, tokenizers and LoRA adapters."""
