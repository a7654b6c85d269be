"""Detection of torch.func transforms and of tensors without values."""

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd import forward_ad


def needs_plain_operations(z: Tensor) -> bool:
    """Return whether a loss of `z` must use autograd's operations only.

    This is so inside a torch.func transform, which differentiates or batches each operation; under
    forward-mode automatic differentiation; and for tensors on the meta device or of FakeTensorMode,
    which have a shape but no values. In these cases no value may be read and no branch may depend
    on one. Under torch.compile the answer is False: blocks are kept out of the compiler.
    """
    if torch.compiler.is_compiling():
        return False
    # torch.autograd.Function.apply makes the same check; there is no public function for it.
    if torch._C._are_functorch_transforms_active():
        return True
    if z.is_meta or isinstance(z, FakeTensor):
        return True
    tangent: Tensor | None = forward_ad.unpack_dual(z).tangent  # type: ignore[no-untyped-call]
    return tangent is not None
