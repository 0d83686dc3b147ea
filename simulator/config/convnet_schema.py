"""Schema of the file of a convolutional network, and the ``ConvNet`` that it becomes."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from simulator.config.fields import Count, Flag, Name, Section, user_error
from simulator.model.convnet import ConvNet, Convolution


class ConvolutionConfig(Section):
    """One kind of convolution: kernel and channels, and the side of its square result."""

    name: Name
    kernel: Count
    inputs: Count
    outputs: Count
    size: Count
    repeat: Count = 1
    norm: Flag = True
    bias: Flag = False


class ConvNetConfig(Section):
    """A model file with ``architecture: convnet``."""

    kind: Literal["model"]
    architecture: Literal["convnet"]
    name: Name
    convolutions: list[ConvolutionConfig]

    @model_validator(mode="after")
    def _computes_something(self) -> ConvNetConfig:
        if not self.convolutions:
            raise user_error("convolutions is empty", "at least one")
        return self

    def build(self) -> ConvNet:
        """The network's specification."""
        return ConvNet(
            name=self.name,
            convolutions=tuple(Convolution(**item.model_dump()) for item in self.convolutions),
        )
