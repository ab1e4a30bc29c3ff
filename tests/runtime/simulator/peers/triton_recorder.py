# triton_recorder.py - stands where Triton's driver of a GPU does: kernels are compiled and their launches written down
# as steps of a case (peers.py). Nothing runs: memory that a kernel should fill stays as it is on the host.
#
#   recorder = Recorder(90)
#   recorder.case = case
#   kernel[grid](x, y, 700)               # x, y: torch tensors of the CPU, or Array
#   case.expect(recorder.argument(y), expected, most=1e-6)
import contextlib
import tempfile
import types

import numpy as np
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import CUDABackend
from triton.backends.nvidia.driver import ty_to_cpp

import peers


class Array:
    """What a kernel can take for a tensor: NumPy values as elements of another type."""

    def __init__(self, values, type):
        self.values = np.ascontiguousarray(values)
        self.dtype = type  # Triton's name: "fp16", "bf16", "fp8e5", ...
        self.placed = np.zeros(self.values.size * 8 + 256, np.uint8)  # only its address is used

    def data_ptr(self):
        return -(-self.placed.ctypes.data // 256) * 256

    def numel(self):
        return self.values.size


# In device memory; other types are as NumPy has them.
ELEMENTS = {"bf16": "bf16", "bfloat16": "bf16", "fp16": "f16", "float16": "f16", "fp8e5": "f8e5m2", "float8_e5m2": "f8e5m2",
            "fp8e4nv": "f8e4m3", "float8_e4m3fn": "f8e4m3"}
SCALARS = {"fp32": "f32", "f32": "f32", "fp64": "f64", "i64": "i64", "u64": "i64"}


class Recorder:
    """The driver's interface, as far as launches need it."""

    def __init__(self, architecture):
        self.architecture = architecture
        self.case = None
        self.known = {}
        properties = {"max_shared_mem": 227 * 1024, "multiprocessor_count": 132, "warpSize": 32, "max_num_regs": 65536}
        self.utils = types.SimpleNamespace(
            load_binary=lambda name, ptx, shared, device: (1, ptx.decode(), 32, 0, 1024), unload_module=lambda module: None,
            get_device_properties=lambda device: properties)
        self.launcher_cls = lambda source, metadata: Launcher(self, source, metadata)
        triton.runtime.driver.set_active(self)

    def get_current_target(self):
        return GPUTarget("cuda", self.architecture, 32)

    def get_current_device(self):
        return self.architecture  # of its own, since what is compiled is kept by device

    def get_current_stream(self, device):
        return 0

    def map_python_to_cpp_type(self, name):
        return ty_to_cpp(name)

    def begin(self, case):
        self.case = case
        self.known = {}  # address of the memory -> its argument, the object that keeps it alive, what was in it
        return case

    def argument(self, tensor):
        """The argument that is the address of an array's elements; its contents count as they are at first."""
        if isinstance(tensor, Array):
            where, keep, values, name = tensor.data_ptr(), tensor, tensor.values, tensor.dtype
        else:
            tensor = tensor.detach()
            where, keep, name = tensor.untyped_storage().data_ptr(), tensor, str(tensor.dtype).removeprefix("torch.")
            if tensor.storage_offset() or tensor.numel() * tensor.element_size() != tensor.untyped_storage().nbytes():
                raise ValueError("a tensor that is part of another's memory can't be written down")
            values = tensor.as_strided((tensor.numel(),), (1,))
            values = (values.float() if name in ELEMENTS else values).cpu().numpy().copy()
        if where in self.known:
            argument, _, before = self.known[where]
            if not np.array_equal(before, values, equal_nan=True):
                raise ValueError("the host changed an array between launches")
            return argument
        argument = self.case.array(f"a{len(self.known)}", values, ELEMENTS.get(name))
        self.known[where] = argument, keep, values
        return argument


class Launcher:
    def __init__(self, recorder, source, metadata):
        self.recorder = recorder
        self.metadata = metadata
        self.types = list(source.signature.values())

    def __call__(self, x, y, z, stream, ptx, packed_metadata, launch_metadata, enter, exit, *values):
        case, metadata = self.recorder.case, self.metadata
        clusters = metadata.num_ctas
        arguments = []
        for name, value in zip(self.types, values, strict=True):
            if name.startswith("*"):
                arguments.append({"i64": 0} if value is None else self.recorder.argument(value))
            elif name != "constexpr":
                arguments.append({SCALARS.get(name, "i32"): value})
        scratch = metadata.global_scratch_size * x * y * z * clusters
        # Triton adds memory for its own use, global and of the profiler. Tensor maps are made in the first.
        arguments.append(case.array(f"scratch{len(case.steps)}", np.zeros(scratch, np.uint8)) if scratch else {"i64": 0})
        arguments.append({"i64": 0})
        case.launch(metadata.name, ptx, metadata.name, arguments, (x * clusters, y, z), (32 * metadata.num_warps, 1, 1),
                    metadata.shared, (clusters, 1, 1) if clusters > 1 else None)


def stop_at_ptx():
    """PTX is what a kernel is loaded from; ptxas is not called."""
    initialize, add_stages = CUDABackend.__init__, CUDABackend.add_stages

    def with_ptx(self, target):
        initialize(self, target)
        self.binary_ext = "ptx"

    def up_to_ptx(self, stages, *args):
        add_stages(self, stages, *args)
        del stages["cubin"]

    CUDABackend.__init__, CUDABackend.add_stages = with_ptx, up_to_ptx
    triton.knobs.cache.dir = tempfile.mkdtemp()


def keep_first_configuration():
    """Nothing can be measured: of the configurations to choose from the first one is taken."""
    initialize = triton.runtime.Autotuner.__init__

    def first_only(self, *args, **named):
        initialize(self, *args, **named)
        self.configs = self.configs[:1]

    triton.runtime.Autotuner.__init__ = first_only


def pretend_h100(torch):
    """What libraries ask torch about the device before their first launch."""
    torch.cuda.get_device_name = lambda device=None: "NVIDIA H100"
    torch.cuda.get_device_capability = lambda device=None: (9, 0)
    torch.cuda.device_count = lambda: 1
    torch.cuda.current_device = lambda: 0
    torch.cuda.device = lambda device: contextlib.nullcontext()
    torch.cuda.get_device_properties = lambda device=None: types.SimpleNamespace(
        shared_memory_per_block_optin=227 * 1024, shared_memory_per_block=48 * 1024, multi_processor_count=132)


stop_at_ptx()
keep_first_configuration()
