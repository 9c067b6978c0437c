"""Makes tests/golden/models/<case>/: tiny random models with logits and every gradient as transformers computes them in float32.

usage: python tests/golden/make_model_golden.py      (needs torch, transformers, safetensors; nothing else in the project does)
Each case folder is a Hugging Face model folder plus reference.safetensors:
    ids [T] int64, logits [T, V] float32, "grad.<weight name>" float32: gradient of the mean next-token cross-entropy.
The shapes lie on purpose: heads * head_dim != hidden_size, one key/value head, odd vocabulary, odd intermediate size.
"""
import json
import pathlib

import torch
import transformers
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).parent / "models"
SHAPE = dict(vocab_size=61, hidden_size=18, intermediate_size=27, num_hidden_layers=2, num_attention_heads=3,
             num_key_value_heads=1, head_dim=8, max_position_embeddings=64, initializer_range=0.3)
CASES = {
    "llama": ("LlamaConfig", "LlamaForCausalLM", dict(rope_theta=10000.0, tie_word_embeddings=False)),
    "llama_tied": ("LlamaConfig", "LlamaForCausalLM", dict(rope_theta=500000.0, tie_word_embeddings=True, rms_norm_eps=1e-5)),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", dict(rope_theta=1000000.0, tie_word_embeddings=True)),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", dict(rope_theta=1000000.0, tie_word_embeddings=True, num_key_value_heads=3)),
    "bitnet_float": ("BitNetConfig", "BitNetForCausalLM",
                     dict(rope_theta=500000.0, tie_word_embeddings=True, hidden_size=24, intermediate_size=35)),
}


def make(name, config_class, model_class, extra):
    torch.manual_seed(sum(name.encode()))
    config = getattr(transformers, config_class)(**{**SHAPE, **extra}, attn_implementation="eager")
    model = getattr(transformers, model_class)(config).float().eval()
    with torch.no_grad():
        for p in model.parameters():  # norms and biases away from 1 and 0, so that a forgotten one shows
            p.add_(torch.randn_like(p) * 0.1)
    ids = torch.randint(0, SHAPE["vocab_size"], (13,))
    out = model(ids[None])
    loss = torch.nn.functional.cross_entropy(out.logits[0, :-1], ids[1:])
    loss.backward()
    reference = {"ids": ids, "logits": out.logits[0].detach().contiguous()}
    reference |= {f"grad.{n}": p.grad.contiguous() for n, p in model.named_parameters()}
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    save_file(reference, folder / "reference.safetensors")
    print(f"{name:14s} loss {loss.item():.6f}  {sum(p.numel() for p in model.parameters())} parameters")


if __name__ == "__main__":
    for name, (config_class, model_class, extra) in CASES.items():
        make(name, config_class, model_class, extra)
    print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__}))
