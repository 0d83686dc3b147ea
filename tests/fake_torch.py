"""As much of PyTorch as scripts/measure_gpu.py calls, on a GPU of virtual time.

The host takes ``LAUNCH_S`` to launch a call or a graph; the device runs them in order, and stands
still where the host is late. A call takes ``torch.call_s``.
"""

from __future__ import annotations

import importlib.util
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace

LAUNCH_S = 20e-6
SCRIPT = Path(__file__).parent.parent / "scripts" / "measure_gpu.py"


def load_script():
    spec = importlib.util.spec_from_file_location("measure_gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Tensor:
    def __init__(self, shape):
        self.shape = tuple(shape)

    def __iter__(self):
        return (Tensor(self.shape[1:]) for _ in range(self.shape[0]))

    def __getitem__(self, index):
        return Tensor(self.shape[1:])

    def t(self):
        return Tensor(self.shape[::-1])

    def view(self, _):
        count = 1
        for side in self.shape:
            count *= side
        return Tensor((count,))

    def split(self, size):
        return [Tensor((size,))] * (self.shape[0] // size) or [self]


class FakeTorch(ModuleType):
    """Install with ``FakeTorch(monkeypatch)``; ``calls`` are (name, shapes) of what ran."""

    def __init__(self, monkeypatch, call_s=10e-6):
        super().__init__("torch")
        self.call_s = call_s
        self.host_s = self.device_s = 0.0
        self.calls = []
        self.captured = None
        self.faults = {}
        self.__version__ = "2.9.0"
        self.version = SimpleNamespace(cuda="12.8", hip=None)
        for name in ("bfloat16", "float8_e4m3fn", "int8", "int16", "float32", "float64"):
            setattr(self, name, name)
        for name in ("randn", "empty", "zeros"):
            setattr(self, name, lambda shape, **_: self.make(shape))
        self.randint = lambda low, high, shape, **_: self.make(shape)
        self.ones = lambda shape, dtype, device: Tensor(shape)
        self.device = lambda *place: place
        Tensor.copy_ = lambda target, source: self.call("copy", source)
        self.matmul = lambda a, b, out: self.call("matmul", a, b, out)
        self._scaled_mm = lambda a, b, *, scale_a, scale_b, out_dtype, use_fast_accum: self.call(
            "fp8", a, b
        )
        self._int_mm = lambda a, b: self.call("int8", a, b)
        attend = lambda q, k, v, is_causal, enable_gqa=False: self.call("attend", q, k, v)  # noqa: E731
        self.nn = SimpleNamespace(functional=SimpleNamespace(scaled_dot_product_attention=attend))
        self.cuda = self._cuda()
        attention = ModuleType("torch.nn.attention")
        attention.SDPBackend = SimpleNamespace(FLASH_ATTENTION=1, CUDNN_ATTENTION=3)
        attention.sdpa_kernel = lambda backends: nullcontext()
        monkeypatch.setitem(sys.modules, "torch", self)
        monkeypatch.setitem(sys.modules, "torch.nn", ModuleType("torch.nn"))
        monkeypatch.setitem(sys.modules, "torch.nn.attention", attention)

    def make(self, shape):
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        size = Tensor(shape).view(-1).shape[0]
        if size > self.faults.get("largest", 2**62):
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return Tensor(shape)

    def call(self, name, *operands):
        if name in self.faults:
            raise self.faults[name]
        shapes = tuple(one.shape for one in operands if one is not None)
        self.calls.append((name, shapes))
        if self.captured is not None:
            self.captured.append((name, shapes))
        else:
            self.launch(1)

    def launch(self, calls):
        self.host_s += LAUNCH_S
        self.device_s = max(self.device_s, self.host_s) + calls * self.call_s

    def _cuda(self):
        torch = self

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                torch.device_s = max(torch.device_s, torch.host_s)
                self.at = torch.device_s

            def synchronize(self):
                assert torch.captured is None
                torch.host_s = max(torch.host_s, self.at)

            def elapsed_time(self, later):
                return 1e3 * (later.at - self.at)

        class CUDAGraph:
            def replay(self):
                torch.calls.append(("replay", len(self.nodes)))
                torch.launch(len(self.nodes))

        @contextmanager
        def graph(made, stream):
            assert stream in warmed, "libraries must have been called on the stream of the capture"
            torch.captured = made.nodes = []
            yield
            torch.captured = None

        @contextmanager
        def stream(one):
            warmed.append(one)
            yield

        def synchronize():
            assert torch.captured is None
            torch.host_s = max(torch.host_s, torch.device_s)
            if "device" in torch.faults:
                raise torch.faults["device"]

        warmed = []
        properties = SimpleNamespace(name="Fake", uuid="1-2", L2_cache_size=2**20)
        return SimpleNamespace(
            Event=Event,
            CUDAGraph=CUDAGraph,
            graph=graph,
            stream=stream,
            synchronize=synchronize,
            Stream=lambda: SimpleNamespace(wait_stream=lambda other: None),
            current_stream=lambda: SimpleNamespace(wait_stream=lambda other: None),
            is_available=lambda: True,
            device_count=lambda: 1,
            set_device=lambda index: None,
            get_device_properties=lambda index: properties,
            mem_get_info=lambda index: (2**34, 2**34),
            empty_cache=lambda: None,
        )
