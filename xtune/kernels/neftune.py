"""NEFTune: uniform noise on the embeddings of training rows (arXiv 2310.05914, section 2). Evaluation sees none."""

import math
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel


def add_neftune(model: PreTrainedModel, alpha: float) -> RemovableHandle:
    """Adds noise of size alpha / sqrt(tokens * hidden) to the input embeddings whenever the model is in train mode.

    The noise comes from torch's global generator, so a run that saves and restores it resumes exactly.

    Returns:
        A handle whose `remove()` ends the noise.
    """

    def add_noise(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        del inputs
        if not module.training:
            return output
        bound = alpha / math.sqrt(output.shape[-2] * output.shape[-1])  # (rows, tokens, hidden)
        return output + torch.empty_like(output).uniform_(-bound, bound)

    return model.get_input_embeddings().register_forward_hook(add_noise)
