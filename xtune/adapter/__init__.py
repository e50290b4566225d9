"""What is trained on a base model: adapters attached, grouped for the optimizer, saved, reopened, merged."""

import logging


def _is_news(record: logging.LogRecord) -> bool:
    return "gemm_4bit_forward" not in str(record.msg)


# Importing PEFT imports bitsandbytes, which on some CPUs looks for an optional kernel and warns of its
# absence in every process; the kernel is one that we switch off anyway (it repacks weights in place).
logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_is_news)
