"""Model types whose loss is computed in chunks: those of which it is known how they end. Loads nothing."""

# fmt: off
PLAIN_HEADS = frozenset(
    [
        "apertus", "arcee", "aria_text", "biogpt", "bitnet", "bloom", "cohere", "cohere2",
        "cohere2_moe", "cwm", "deepseek_v2", "deepseek_v3", "diffllama", "doge", "dots1",
        "ernie4_5", "ernie4_5_moe", "exaone4", "exaone_moe", "falcon", "falcon_mamba",
        "flex_olmo", "gemma", "gemma2", "gemma3", "gemma3_text", "glm", "glm4", "glm4_moe", "gpt2",
        "gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_oss", "gptj", "granite", "granitemoe",
        "granitemoehybrid", "granitemoeshared", "helium", "hunyuan_v1_dense",
        "hunyuan_v1_moe", "internlm3", "jamba", "jetmoe", "lfm2", "llama", "mamba", "mellum",
        "mimo_v2_flash", "minimax", "minimax_m2", "ministral", "ministral3", "mistral",
        "mixtral", "mpt", "nemotron", "olmo", "olmo2", "olmo3", "olmoe", "opt", "persimmon",
        "phi", "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_5_text", "qwen3_moe",
        "qwen3_next", "seed_oss", "smollm3", "solar_open", "stablelm", "starcoder2",
        "vaultgemma", "xglm",
    ]
)
# fmt: on
"""Model types whose logits are `transform(head(backbone(ids)))`, each compared with the model's own forward
(tests/kernels/test_heads.py, transformers 5.23)."""
