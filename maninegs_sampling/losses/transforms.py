"""When a loss has to be made of autograd's own operations."""

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad


def needs_plain_operations(z: Tensor) -> bool:
    """Return whether blocks and hand-written gradients must not be used for `z`.

    It is so inside a transform of torch.func, which differentiates or batches each operation; under
    forward-mode automatic differentiation; and for tensors of the meta device or of FakeTensorMode,
    which have a shape and no numbers. No number may be read in these cases, and no choice depend
    on one. The compiler finds its own way.
    """
    if torch.compiler.is_compiling():
        return False
    # torch.autograd.Function.apply asks the same; there is no public way to.
    if torch._C._are_functorch_transforms_active():
        return True
    if z.is_meta or isinstance(z, FakeTensor):
        return True
    tangent: Tensor | None = forward_ad.unpack_dual(z).tangent  # type: ignore[no-untyped-call]
    return tangent is not None
