"""modelType `pytorch`: programs that PyTorch has exported."""

import sys

# PyTorch's build for GPUs includes the compiler Triton with its own LLVM. Where TensorFlow is loaded, importing Triton
# ends the whole process ("CommandLine Error: ... registered more than once"). None makes the import an ImportError,
# for which PyTorch is prepared: nothing here needs the compiler.
sys.modules.setdefault("triton", None)  # type: ignore[arg-type]
