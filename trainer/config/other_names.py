"""What other trainers call the keys of the configuration: Hugging Face's Trainer, TRL, axolotl, KempnerForge.

Their words, as of 2026-11-30: transformers.TrainingArguments, trl.SFTConfig, axolotl's configuration reference,
KempnerForge's configuration classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# Other names of the same setting, with the same values. They are accepted in files and as options.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "model_name_or_path": "name",
        "base_model": "name",
        "tokenizer_name_or_path": "tokenizer",
        "tokenizer_name": "tokenizer",
        "tokenizer_path": "tokenizer",
        "attn_backend": "attention_backend",
        "sliding_window": "window_size",
        "dataset_text_field": "text_field",
        "hf_dataset_text_field": "text_field",
        "max_seq_length": "max_length",
        "max_seq_len": "max_length",
        "sequence_len": "max_length",
        "seq_len": "max_length",
        "block_size": "max_length",
        "sample_packing": "packing",
        "pack_sequences": "packing",
        "val_set_size": "eval_fraction",
        "max_steps": "steps",
        "per_device_train_batch_size": "batch_size",
        "micro_batch_size": "batch_size",
        "grad_accum_steps": "gradient_accumulation_steps",
        "grad_accumulation_steps": "gradient_accumulation_steps",
        "lr_scheduler_type": "schedule",
        "lr_scheduler": "schedule",
        "cosine_min_lr_ratio": "final_lr_fraction",
        "min_lr_ratio": "final_lr_fraction",
        "gradient_clipping": "max_grad_norm",
        "grad_clip_norm": "max_grad_norm",
        "adam_eps": "adam_epsilon",
        "logging_steps": "log_every",
        "log_interval": "log_every",
        "eval_steps": "eval_every",
        "eval_interval": "eval_every",
        "save_steps": "checkpoint_every",
        "save_interval": "checkpoint_every",
        "save_total_limit": "keep_checkpoints",
        "keep_last_n": "keep_checkpoints",
        "early_stopping_patience": "early_stop_patience",
        "modules_to_save": "lora_modules_to_save",
        "use_dora": "lora_use_dora",
        "peft_use_dora": "lora_use_dora",
        "use_rslora": "lora_use_rslora",
        "peft_use_rslora": "lora_use_rslora",
        "num_train_epochs": "epochs",
        "num_epochs": "epochs",
        "torch_compile": "compile",
        "rl": "loss",
        "rl_beta": "beta",
        "dpo_beta": "beta",
        "pref_beta": "beta",
        "orpo_alpha": "beta",
        "dpo_label_smoothing": "label_smoothing",
    }
)
# Words that mean something else, or have other values, and what to write instead.
ADVICE: Mapping[str, str] = MappingProxyType(
    {
        "loss_type": "training.loss (--loss): dpo (sigmoid), ipo or orpo",
        "bf16": "training.amp (--amp): bfloat16 if the device supports it, else float16",
        "fp16": "training.amp (--amp): bfloat16 if the device supports it, else float16",
        "tf32": "nothing: float32 matrix products are exact here; training.amp (--amp) is faster",
        "mixed_precision": "training.amp (--amp): bfloat16 if the device supports it, else float16",
        "optim": "training.optimizer (--optimizer): adamw, adamw_8bit or muon",
        "warmup_ratio": "training.warmup_steps (--warmup-steps): this fraction of training.steps",
        "attn_implementation": "model.attention_backend (--attention-backend): auto, flash_attn_2, sdpa and others",
        "flash_attention": "model.attention_backend (--attention-backend): flash_attn_2, or auto for the fastest",
        "sdp_attention": "model.attention_backend (--attention-backend): sdpa",
        "xformers_attention": "model.attention_backend (--attention-backend): xformers",
        "activation_checkpointing": "model.gradient_checkpointing (--gradient-checkpointing): true or false",
        "dataset_path": "data.dataset_file (--dataset-file): a file, or a folder of files",
        "hf_dataset_name": "data.dataset_file (--dataset-file): a file, or a folder of files",
        "adapter": "model.use_peft (--use-peft) for LoRA, with model.load_in_4bit (--load-in-4bit) for QLoRA",
        "peft_config": "model.use_peft (--use-peft), with lora_r, lora_alpha, lora_dropout, lora_target_modules",
        "bnb_4bit_quant_type": "model.load_in_4bit (--load-in-4bit), which stores NF4 with double quantization",
        "bnb_4bit_compute_dtype": "training.amp (--amp), which also chooses the precision of quantized weights",
        "use_bnb_nested_quant": "model.load_in_4bit (--load-in-4bit), which stores NF4 with double quantization",
        "assistant_only_loss": "data.train_on: answers (--train-on answers), the default for conversations",
        "completion_only_loss": "data.train_on: answers (--train-on answers), the default for conversations",
        "train_on_inputs": "data.train_on: answers or all (--train-on)",
        "train_on_responses_only": "data.train_on: answers (--train-on answers), the default for conversations",
        "roles_to_train": "data.train_on: answers or all (--train-on)",
        "chat_template_jinja": "data.chat_template (--chat-template): the name of a template, or a Jinja file",
        "lora_target_linear": "nothing: LoRA adapts all linear layers by default; model.lora_target_modules names others",
        "deepspeed": "training.sharding: full (--sharding full), PyTorch's FSDP",
        "fsdp": "training.sharding: full (--sharding full), PyTorch's FSDP",
        "fsdp_config": "training.sharding: full (--sharding full), PyTorch's FSDP",
        "per_device_eval_batch_size": "training.batch_size (--batch-size), which evaluation uses as well",
        "eval_strategy": "training.eval_every (--eval-every): a number of steps; 0 for the end only",
        "evaluation_strategy": "training.eval_every (--eval-every): a number of steps; 0 for the end only",
        "evals_per_epoch": "training.eval_every (--eval-every): a number of steps; 0 for the end only",
        "saves_per_epoch": "training.checkpoint_every (--checkpoint-every): a number of steps; 0 for the end only",
        "load_best_model_at_end": "training.early_stop_patience (--early-stop-patience), which also keeps the best checkpoint",
        "save_strategy": "training.checkpoint_every (--checkpoint-every): a number of steps; 0 for the end only",
        "datasets": "data.dataset_file (--dataset-file): a file, or a folder of files",
        "dataset_name": "data.dataset_file (--dataset-file): a file, or a folder of files",
        "dataset_prepared_path": "data.cache_dir (--cache-dir): tokens are cached there",
        "train_file": "data.dataset_file (--dataset-file): a file, or a folder of files",
        "validation_file": "data.eval_file (--eval-file)",
        "test_datasets": "data.eval_file (--eval-file)",
        "report_to": "output.tensorboard (--tensorboard); metrics.jsonl is always written",
        "wandb_project": "output.tensorboard (--tensorboard); metrics.jsonl is always written",
        "logging_dir": "output.log_file (--log-file)",
        "run_name": "output.output_dir (--output-dir): a run has the name of its folder",
        "push_to_hub": "nothing: no model is uploaded; `aios export` writes a folder with a model card",
        "resume_from_checkpoint": "--resume: the newest intact checkpoint in output.output_dir",
        "auto_resume_from_checkpoints": "--resume: the newest intact checkpoint in output.output_dir",
        "overwrite_output_dir": "output.output_dir (--output-dir): a new folder; earlier runs are never overwritten",
        "data_seed": "training.seed (--seed), which also shuffles the data",
        "dataloader_num_workers": "nothing: tokens are read from memory, or from a cache on disk if there are many",
        "use_liger_kernel": "nothing: the loss is always computed without storing all logits",
        "group_by_length": "data.packing (--packing), the default: sequences are filled, so none is padded",
        "trust_remote_code": "nothing: code in model folders is never run",
    }
)


def known_aliases(keys: Mapping[str, str]) -> dict[str, str]:
    """The aliases of keys that the configuration has. `keys`: the section of each key."""
    return {name: key for name, key in ALIASES.items() if key in keys and name not in keys}


def with_own_names(values: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    """A section of a file with other names replaced, unless our own name is there as well."""
    aliases = known_aliases(keys)
    return {
        aliases[name] if name in aliases and aliases[name] not in values else name: value
        for name, value in values.items()
    }


def advice_for_key(name: str) -> str | None:
    """What to write instead of another trainer's key; None if the word is not known."""
    return ADVICE.get(name.replace("-", "_"))


def advice_for_option(option: str) -> str | None:
    """The message for an option of another trainer; None if the word is not known."""
    name = option.lstrip("-").partition("=")[0]
    advice = advice_for_key(name.removeprefix("no-"))
    return advice and f"No such option: {option}. Here it is {advice}."
