# cute_recorder.py - stands where CUDA does for kernels in CuTe DSL: their own host code is compiled and run, and what it
# would launch is written down as steps of a case (peers.py), parameters and tensor maps as it made them. Nothing runs.
#
#   recorder = Recorder()                             # import this before what uses CuTe DSL
#   with recorder.recording(case):
#       x = recorder.tensor(values, torch.bfloat16)   # torch's, without memory; so are all that torch makes in here
#       y = library(x)
#       case.expect(recorder.argument(y), expected, most=1e-6)
import contextlib
import ctypes
import os
import pathlib
import re
import subprocess
import tempfile

import peers

FOLDER = pathlib.Path(tempfile.mkdtemp())
RUNTIME = FOLDER / "libcute_dsl_runtime.so"
os.environ.update(CUTE_DSL_LIBS=str(RUNTIME), CUTE_DSL_ARCH="sm_90a", CUTE_DSL_KEEP_PTX="1", CUTE_DSL_DUMP_DIR=str(FOLDER))

import cutlass.cute as cute
import numpy as np
import torch
import tvm_ffi
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.overrides import TorchFunctionMode

# In files, in device memory (None: the same), and as tensor maps name them.
ELEMENTS = {torch.bfloat16: (np.float32, "bf16", 10), torch.float16: (np.float32, "f16", 6), torch.float32: (np.float32, None, 7),
            torch.int32: (np.int32, None, 3), torch.int64: (np.int64, None, 4)}
SIZES = {"b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "b32": 4, "u32": 4, "s32": 4, "f32": 4, "b64": 8, "u64": 8,
         "s64": 8, "f64": 8}
THREE = ctypes.POINTER(ctypes.c_uint32)
LAUNCH = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, THREE, THREE, THREE, ctypes.c_uint64, ctypes.POINTER(ctypes.c_void_p))
ON_CUDA = 2  # kDLCUDA


def build_runtime():
    source = pathlib.Path(__file__).with_name("cute_runtime.cpp")
    try:
        subprocess.run([os.environ.get("CXX", "c++"), "-std=c++20", "-shared", "-fPIC", "-o", RUNTIME, source], check=True)
    except FileNotFoundError as missing:
        peers.skip(f"{source.name} can't be compiled ({missing}): install a C++ compiler or set CXX")
    return ctypes.CDLL(str(RUNTIME))


class Memory:
    """What tensors of torch are in: an array of the case, and host memory of which only the addresses are used."""

    def __init__(self, argument, tensor):
        self.argument = argument
        self.tensor = tensor  # keeps torch from giving its number to another
        with unset_fake_temporarily():
            self.host = torch.empty(tensor.untyped_storage().nbytes() // tensor.element_size(), dtype=tensor.dtype)
        self.begin, self.end = self.host.data_ptr(), self.host.data_ptr() + self.host.nbytes


class Placed:
    """A tensor as host code takes it: in host memory that is said to be a device's."""

    def __init__(self, tensor, host):
        with unset_fake_temporarily():
            self.capsule = torch.utils.dlpack.to_dlpack(host.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset()))
        content = ctypes.pythonapi.PyCapsule_GetPointer
        content.restype, content.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
        ctypes.c_int32.from_address(content(self.capsule, b"dltensor") + ctypes.sizeof(ctypes.c_void_p)).value = ON_CUDA

    def __dlpack__(self, **options):
        return self.capsule

    def __dlpack_device__(self):
        return ON_CUDA, 0


class Watch(TorchFunctionMode):
    """Learns which tensors are zero at first, since torch remembers only shapes, and gives host code their memory."""

    def __init__(self, recorder):
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, function, types, args=(), named=None):
        if function is torch.Tensor.__dlpack__:
            return Placed(args[0], self.recorder.memory(args[0]).host).capsule
        made = function(*args, **(named or {}))
        if function in (torch.zeros, torch.zeros_like):
            self.recorder.memory(made, 0)
        return made


class Recorder:
    def __init__(self):
        self.case = None
        self.memories = {}  # by torch's number of the storage
        self.kernels = {}  # of the function that is called, by entry: PTX and the sizes of its parameters
        self.failure = None
        compile = cute.compile
        cute.compile = lambda *args, **named: self.compiled(compile(*args, **named))
        self.on_launch = LAUNCH(self.launch)
        ctypes.c_void_p.in_dll(build_runtime(), "on_launch").value = ctypes.cast(self.on_launch, ctypes.c_void_p).value

    @contextlib.contextmanager
    def recording(self, case):
        self.case, self.memories = case, {}
        with FakeTensorMode(), Watch(self):
            yield

    def tensor(self, values, type):
        made = torch.empty(values.shape, dtype=type, device="cuda")
        self.memory(made, values)
        return made

    def addresses(self, tensors):
        """A tensor of the addresses of others."""
        made = torch.empty(len(tensors), dtype=torch.int64, device="cuda")
        members = [self.argument(tensor) for tensor in tensors]
        self.memories[made.untyped_storage()._cdata] = Memory(self.case.struct(f"a{len(self.memories)}", members), made)
        return made

    def argument(self, tensor):
        """The argument that is the address of the tensor's memory."""
        return self.memory(tensor).argument

    def memory(self, tensor, values=None):
        """Where a tensor is; at first sight all of `values` go there, or else what no kernel should use."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.memories:
            if tensor.dtype not in ELEMENTS:
                raise ValueError(f"tensors of {tensor.dtype} can't be written down: add the type to ELEMENTS")
            type, name, _ = ELEMENTS[tensor.dtype]
            if values is None:
                values = np.nan if type == np.float32 else -1
            values = np.asarray(values, type)
            if values.ndim == 0:
                values = np.full(storage.nbytes() // tensor.element_size(), values)
            self.memories[storage._cdata] = Memory(self.case.array(f"a{len(self.memories)}", values, name), tensor)
        return self.memories[storage._cdata]

    def compiled(self, function):
        """A function that calls `function` with tensors as its host code takes them."""
        kernels = {}
        for file in FOLDER.glob("*.ptx"):
            ptx = file.read_text().rstrip("\0")
            for entry, parameters in re.findall(r"\.entry (\w+)\((.*?)\)", ptx, re.S):
                declared = re.findall(r"\.param (?:\.align \d+ )?\.(\w+) \w+(?:\[(\d+)\])?", parameters)
                kernels[entry] = ptx, [SIZES[type] * int(count or 1) for type, count in declared]
            file.unlink()

        def placed(x):
            return tvm_ffi.from_dlpack(Placed(x, self.memory(x).host)) if isinstance(x, torch.Tensor) else x

        def call(*args, **named):
            self.kernels, self.failure = kernels, None
            function(*map(placed, args), **{name: placed(x) for name, x in named.items()})
            if self.failure:
                raise self.failure

        return call

    def launch(self, entry, grid, block, cluster, shared, parameters):
        try:
            ptx, sizes = self.kernels[entry.decode()]
            args = [self.parameter(ctypes.string_at(parameters[i], size)) for i, size in enumerate(sizes)]
            self.case.launch("kernel", ptx, entry.decode(), args, grid[:3], block[:3], shared, cluster[:3] if cluster[0] else None)
        except Exception as failure:  # host code can't pass it on
            self.failure = failure
        return 0

    def parameter(self, data):
        """Words that are addresses of arrays become those that the arrays have when the kernel runs."""
        if len(data) == 128:
            return self.tensor_map(int.from_bytes(data, "little"))
        parts, done = [], 0
        for at in range(0, len(data) - 7, 8):
            address = int.from_bytes(data[at:at + 8], "little")
            for memory in self.memories.values():
                if memory.begin <= address < memory.end:
                    if address != memory.begin:
                        raise ValueError("an address within an array can't be written down")
                    parts += [{"bytes": data[done:at].hex()}] * (done < at) + [memory.argument]
                    done = at + 8
        return {"struct": parts + [{"bytes": data[done:].hex()}] * (done < len(data))}

    def tensor_map(self, bits):
        """As the hardware takes them, with the fields where CuTe DSL's host code puts them: address, format, rank - 1, type,
        interleave, swizzle, strides, sizes, element strides, box."""

        def field(first, count):
            return bits >> first & (1 << count) - 1

        rank, type, swizzle = field(68, 3) + 1, field(71, 4), field(77, 2)
        dims = [field(256 + 32 * i, 32) + 1 for i in range(rank)]
        strides = [field(96 + 32 * i, 32) + (field(224 + 4 * i, 4) << 32) << 4 for i in range(rank - 1)]
        box = [field(440 + 8 * i, 8) + 1 for i in range(rank)]
        if field(64, 4) != 2 or field(75, 2) != 0 or field(416, 24) != 0:
            raise ValueError(f"a tensor map of an unknown kind can't be written down: {bits:0256x}")
        # A map may begin before its array, by all of one dimension: host code does so where rows end within it.
        for before in [0] + [size * stride for size, stride in zip(dims[1:], strides)]:
            first = (field(0, 57) + before) % 2**57
            for memory in self.memories.values():
                if memory.begin <= first < memory.end and type == ELEMENTS[memory.host.dtype][2]:
                    return {"tensormap": {**memory.argument, "dims": dims, "strides": strides, "box": box,
                                          "offset": first - before - memory.begin, "swizzle": 16 << swizzle if swizzle else 0}}
        raise ValueError("a tensor map is over no array of its type")
