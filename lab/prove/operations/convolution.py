"""Convolutions, pooling, resampling and padding."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lab.prove.operation import Operation, distinct, index, tensor

_IMAGE = tensor("b c h w")
_TINY_IMAGES = {"large": {"b": 39, "c": 30, "h": 5, "w": 6}}  # in which no two pixels are equal, in any dtype
_SMALL_PADDING = {"": {"padding": 1}}


def _grid_sample(x: Tensor, offset: Tensor, pixel: Tensor) -> Tensor:
    """Sample between pixels, far enough from their edges that no rounding moves a point across."""
    size = x.new_tensor([x.shape[3], x.shape[2]])
    return F.grid_sample(x, (2 * (pixel + offset) + 1) / size - 1, align_corners=False)


CONVOLUTION: tuple[Operation, ...] = (
    Operation("adaptive_avg_pool2d", F.adaptive_avg_pool2d, (_IMAGE,), reductions=("h w",),
              samples={"": {"output_size": 3}}, unordered=True),
    Operation("adaptive_max_pool2d", F.adaptive_max_pool2d, (distinct("b c h w"),), samples={"": {"output_size": 3}},
              lengths=_TINY_IMAGES, unordered=True),
    Operation("avg_pool2d", F.avg_pool2d, (_IMAGE,), reductions=("9",),
              samples={"": {"kernel_size": 2}, "overlapping": {"kernel_size": 3, "stride": 2, "padding": 1}}),
    Operation("conv1d", F.conv1d, (tensor("b c t"), tensor("d c 3"), tensor("d")), reductions=("c 3", "d 3", "b t"),
              samples=_SMALL_PADDING, lengths={"large": {"t": 1040}}, unordered=True),
    Operation("conv2d", F.conv2d, (_IMAGE, tensor("d c 3 3"), tensor("d")), reductions=("c 9", "d 9", "b h w"),
              samples={"": {"padding": 1}, "strided": {"stride": 2}, "dilated": {"dilation": 2}}, unordered=True),
    Operation("conv2d_depthwise", lambda x, w: F.conv2d(x, w, padding=1, groups=x.shape[1]),
              (_IMAGE, tensor("c 1 3 3")), reductions=("9", "b h w"), unordered=True),
    Operation("conv3d", F.conv3d, (tensor("b c 4 h w"), tensor("d c 2 2 2")), reductions=("c 8", "d 8", "b 4 h w"),
              lengths={"large": {"c": 3, "h": 30, "w": 31, "d": 2}}, unordered=True),
    Operation("conv_transpose2d", F.conv_transpose2d, (_IMAGE, tensor("c d 3 3"), tensor("d")),
              reductions=("c 9", "d 9", "b h w 4"), samples={"": {"stride": 2, "padding": 1}}, unordered=True),
    Operation("fold", lambda x: F.fold(F.unfold(x, 3, padding=1), x.shape[2:], 3, padding=1), (_IMAGE,),
              reductions=("9",)),
    Operation("grid_sample", _grid_sample, (_IMAGE, tensor("b 5 4 2", 0.3, 0.7), index("b 5 4 2", "q")),
              reductions=("c 4", "20"), lengths={"large": {"q": 31}}, unordered=True),
    Operation("interpolate", F.interpolate, (_IMAGE,), reductions=("64",),
              samples={"": {"scale_factor": 2}, "bilinear": {"scale_factor": 2, "mode": "bilinear"},
                       "bicubic": {"scale_factor": 2, "mode": "bicubic"}}, unordered=True),
    Operation("max_pool1d", lambda x: F.max_pool1d(x, 2), (distinct("b c t"),),
              lengths={"large": {"b": 130, "c": 32, "t": 8}}),
    Operation("max_pool2d", F.max_pool2d, (distinct("b c h w"),), lengths=_TINY_IMAGES, unordered=True,
              samples={"": {"kernel_size": 2}, "overlapping": {"kernel_size": 3, "stride": 2, "padding": 1}}),
    Operation("pad", F.pad, (_IMAGE,), reductions=("4",), unordered=True,
              samples={"": {"pad": (1, 2)}, "reflect": {"pad": (1, 2, 2, 1), "mode": "reflect"},
                       "replicate": {"pad": (1, 2, 2, 1), "mode": "replicate"}}),
    Operation("pixel_shuffle", lambda x: F.pixel_shuffle(x, 2), (tensor("b 4 h w"),), lengths={"large": {"h": 66}}),
    Operation("unfold", F.unfold, (_IMAGE,), reductions=("9",), samples={"": {"kernel_size": 3, "padding": 1}}),
)  # fmt: skip
