"""A convolutional network as the matmuls that its convolutions are lowered to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Convolution:
    """``outputs`` filters of kernel x kernel x ``inputs``, whose result is size x size pixels.

    ``norm`` is a batch normalisation behind it (a scale and a shift a channel), ``bias`` one number
    a channel. ``repeat`` such convolutions are in the network.
    """

    name: str
    kernel: int
    inputs: int
    outputs: int
    size: int
    repeat: int = 1
    norm: bool = True
    bias: bool = False

    @property
    def rows(self) -> int:
        """Rows of the lowered matmul for one image: its pixels (im2col; Chellapilla et al., High
        performance convolutional neural networks for document processing, 2006, section 3.1)."""
        return self.size * self.size

    @property
    def k(self) -> int:
        """Elements under the kernel: the depth of the lowered matmul."""
        return self.kernel * self.kernel * self.inputs

    @property
    def weights(self) -> int:
        """Weights of one such convolution."""
        return self.k * self.outputs

    @property
    def vectors(self) -> int:
        """Scales, shifts and biases."""
        return self.outputs * (2 * self.norm + self.bias)

    @property
    def flops(self) -> int:
        """Floating-point operations an image."""
        return 2 * self.rows * self.weights


@dataclass(frozen=True, slots=True)
class ConvNet:
    """Convolutions in order; a fully connected layer is one of size 1 and kernel 1."""

    name: str
    convolutions: tuple[Convolution, ...]

    @property
    def matmul_parameters(self) -> int:
        """Weights of all convolutions."""
        return sum(x.repeat * x.weights for x in self.convolutions)

    @property
    def parameters(self) -> int:
        """Weights, and the vectors of normalisations and biases."""
        return self.matmul_parameters + sum(x.repeat * x.vectors for x in self.convolutions)

    @property
    def kv_elements_per_token(self) -> int:
        """Nothing is cached."""
        return 0

    def flops(self, images: int) -> int:
        """Floating-point operations of a forward pass; pooling and activations are not counted."""
        return images * sum(x.repeat * x.flops for x in self.convolutions)
