"""TensorFlow's "SAME" padding for convolutions that were made with PyTorch's symmetric one."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class SameConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow's "SAME" does.

    The output has ceil(side / stride) rows; where their padding is odd, the extra row of zeros is
    below, and the extra column on the right. With a stride of 2 and an even side this is not
    PyTorch's padding = 1: the windows lie one pixel further to the right and below.
    """

    # Not ``forward``: ``memory.footprint`` replaces that by a call of this with other types.
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        sides = zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True)
        spare = [max((-(-side // step) - 1) * step + size - side, 0) for side, size, step in sides]
        padded = functional.pad(input, [part for n in spare for part in (n // 2, n - n // 2)])
        return functional.conv2d(
            padded, weight, bias, self.stride, 0, self.dilation, groups=self.groups
        )


def pad_same(model: nn.Module) -> None:
    """Gives the strided convolutions of a model "SAME" padding, in place.

    Without a stride, odd kernels are padded alike in both ways. Parameters and their names stay.
    """
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Conv2d and max(child.stride) > 1:
                setattr(module, name, _same(child))


def _same(plain: nn.Conv2d) -> SameConv2d:
    made = SameConv2d.__new__(SameConv2d)
    made.__dict__.update(plain.__dict__)  # the same parameters, and nothing drawn at random
    return made
