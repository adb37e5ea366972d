"""What is trained: models of transformers, their weights, tokenizers, adapters and exports."""
