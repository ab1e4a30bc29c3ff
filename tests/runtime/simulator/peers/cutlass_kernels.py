# CUTLASS's own examples for Hopper in CuTe DSL: products with copies to all blocks of a cluster, persistent ones, groups, fused
# attention, norms. `TILEJIT_CUTLASS=CLONE python3 cutlass_kernels.py FOLDER`, CLONE being one of CUTLASS's repository; see
# peers.py.
import importlib.util
import math
import os
import pathlib
import sys

import peers

ROOT = pathlib.Path(os.environ.get("TILEJIT_CUTLASS", "")) / "examples/python/CuTeDSL"
EXAMPLES = ROOT / "cute/hopper/kernel"
if "TILEJIT_CUTLASS" not in os.environ:
    peers.skip("TILEJIT_CUTLASS is not set: the folder of a clone of CUTLASS")
if not EXAMPLES.is_dir():
    peers.skip(f"{EXAMPLES} does not exist: TILEJIT_CUTLASS must be the folder of a clone of CUTLASS")
try:
    import numpy as np
    import torch
    from cute_recorder import Placed, Recorder
    import cutlass
    import cutlass.cute as cute
    import cutlass.utils
    from cutlass.cute.runtime import from_dlpack, make_fake_stream
except ImportError as missing:
    peers.skip(f"CuTe DSL is not installed ({missing}): pip install nvidia-cutlass-dsl apache-tvm-ffi torch numpy")

recorder = Recorder()
cases = peers.Cases(sys.argv[1])
random = np.random.default_rng(11)
ELEMENTS = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32, "i32": torch.int32, "i64": torch.int64}


def example(path):
    specification = importlib.util.spec_from_file_location(pathlib.Path(path).stem, EXAMPLES / path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def numbers(type, *shape):
    return peers.rounded(random.standard_normal(shape), type)


def empty(*shape):
    return np.full(shape, np.nan, np.float32)


class Operands:
    """Tensors of a kernel as it is compiled for them, and as it is called with them."""

    def __init__(self):
        self.compiled, self.called = [], []

    def add(self, values, type, order=None, leading=None):
        """In memory as `values` lie; the kernel's dimensions are those of `order`, and `leading` of these has stride 1."""
        return self.place(recorder.tensor(values, ELEMENTS[type]), order, leading)

    def place(self, made, order=None, leading=None):
        view = made.permute(order) if order else made
        like = from_dlpack(Placed(view, recorder.memory(made).host), assumed_align=16, enable_tvm_ffi=True)
        self.compiled.append(like if leading is None else like.mark_layout_dynamic(leading_dim=leading))
        self.called.append(view)
        return made

    def run(self, kernel, *constants, numbers=(), stream=True):
        """`constants` the kernel is compiled with, `numbers` are its arguments, too."""
        streams = [make_fake_stream(use_tvm_ffi_env_stream=True)] * stream
        function = cute.compile(kernel, *self.compiled, *numbers, *constants, *streams, options="--enable-tvm-ffi")
        function(*self.called, *numbers)


def product(name, kernel, *constants, m, n, k, batch=1, type="bf16", majors="kkn", most=5e-3, known=()):
    """`majors`: the dimensions of A, B and C whose elements are neighbours. `most`: of C, in the same type."""
    with cases.case(name) as case, recorder.recording(case):
        case.know(*known)
        operands = Operands()

        def matrix(values, is_turned):  # values: [batch, rows, columns]
            memory = np.ascontiguousarray(values.swapaxes(1, 2)) if is_turned else values
            return operands.add(memory, type, (2, 1, 0) if is_turned else (1, 2, 0), 0 if is_turned else 1)

        a, b = numbers(type, batch, m, k), numbers(type, batch, n, k)
        matrix(a, majors[0] == "m"), matrix(b, majors[1] == "n")
        c = matrix(empty(batch, m, n), majors[2] == "m")
        operands.run(kernel, *constants)
        expected = np.einsum("lmk,lnk->lmn", a.astype(np.float64), b.astype(np.float64))
        case.expect(recorder.argument(c), expected.swapaxes(1, 2) if majors[2] == "m" else expected, most)


def attention(name, d, causal=False, persistent=False, type="f16", lengths=(200, 333), heads=4, shared_by=2, window=None):
    rows, columns = lengths
    q, k, v = (numbers(type, t, h, d) for t, h in ((rows, heads), (columns, heads // shared_by), (columns, heads // shared_by)))
    masks = fused.fmha_utils.MaskEnum
    mask = masks.WINDOW_MASK_INFERENCE if causal or window else masks.RESIDUAL_MASK if columns % 128 else masks.WINDOW_MASK
    before, behind = window or (None, 0 if causal else None)
    with cases.case(name) as case, recorder.recording(case):
        # Nothing waits for the last stores of a warp before it ends.
        case.know(("async-hazard", r"the block ends while this copy may still read its shared memory"))
        operands = Operands()

        def place(values, shared_by, type):  # [t, heads, d] as [t, d, shared_by, heads of k, 1]
            t, all_heads, width = values.shape
            return operands.add(values.reshape(1, t, all_heads // shared_by, shared_by, width), type, (1, 4, 3, 2, 0), 1)

        place(q, shared_by, type), place(k, 1, type), place(v, 1, type)
        out = place(empty(rows, heads, d), shared_by, type)
        sums = place(empty(rows, heads, 1), shared_by, "f32")
        scale = d ** -0.5
        operands.run(fused.HopperFusedMultiHeadAttentionForward(cutlass.Float32, cutlass.Float32, (64, 128, d), persistent, mask),
                     numbers=(scale * math.log2(math.e), scale, 1.0, *(x if x is None else cutlass.Int32(x) for x in (before, behind))))
        expected, logarithms = peers.attention(q, k, v, scale, causal, (before, behind) if window else None)
        case.expect(recorder.argument(out), expected, 5e-3 if type == "bf16" else 2e-3)  # of probabilities and result
        case.expect(recorder.argument(sums), logarithms.T, 1e-6)


def grouped_product(name, mode, cluster, sizes, type="f16"):
    """Products of several sizes in one launch. The kernel makes itself the tensor maps of each: from arrays of addresses,
    sizes and strides."""
    kernel = grouped.HopperGroupedGemmPersistentKernel(cutlass.Float32, (128, 128), cluster, 1, True, mode)
    tiles = sum(-(-m // (128 * cluster[0])) * -(-n // (128 * cluster[1])) for m, n, _ in sizes)
    with cases.case(name) as case, recorder.recording(case):
        # The maps of the next group are made while copies by those of the last may still be under way.
        case.know(*unfenced, ("async-hazard", r"'tensormap\..* writes .* memory at .* that an operation .* may still read"))
        operands = Operands()
        for _ in range(3):  # of their types only
            operands.add(numbers(type, 1, 8, 8), type, (1, 2, 0), 1)
        matrices = [(numbers(type, m, k), numbers(type, n, k), empty(m, n)) for m, n, k in sizes]
        tensors = [[recorder.tensor(x, ELEMENTS[type]) for x in group] for group in matrices]
        operands.compiled.append(len(sizes))
        operands.add(np.array([(*size, 1) for size in sizes], np.int32), "i32")
        operands.add(np.array([[(x.shape[1], 1) for x in group] for group in matrices], np.int32), "i32")
        operands.place(recorder.addresses([x for group in tensors for x in group]).reshape(len(sizes), 3))
        operands.compiled.append(tiles)
        operands.add(np.zeros((3 * cluster[0] * cluster[1], 3, 16), np.int64), "i64")
        operands.run(kernel, 3)
        for (a, b, _), (_, _, c) in zip(matrices, tensors):
            case.expect(recorder.argument(c), a.astype(np.float64) @ b.T.astype(np.float64), 2e-3)


def norm(kind, width, rows=5, type="f16"):
    x, weight = numbers(type, rows, width), numbers(type, width)
    bias = numbers(type, width) if kind == "layer" else None
    with cases.case(f"{kind}_norm_{width}") as case, recorder.recording(case):
        operands = Operands()
        y = operands.add(empty(rows, width), type)
        operands.add(x, type), operands.add(weight, type)
        if bias is not None:
            operands.add(bias, type)
        else:
            operands.compiled.append(None), operands.called.append(None)
        operands.run(norms.CtaNorm(width, kind, None), numbers=(1e-6,), stream=False)
        exact = x.astype(np.float64)
        if kind == "layer":
            exact = exact - exact.mean(1, keepdims=True)
        exact = exact / np.sqrt((exact ** 2).mean(1, keepdims=True) + 1e-6) * weight + (0 if bias is None else bias)
        case.expect(recorder.argument(y), exact, 1e-3)


sys.path.append(str(ROOT))  # their helpers
# What persistent kernels ask the driver: fewer than there are tiles.
multiprocessors = 3
cutlass.utils.HardwareInfo.__init__ = lambda self: None
cutlass.utils.HardwareInfo.get_device_multiprocessor_count = lambda self: multiprocessors
dense = example("dense_gemm/dense_gemm.py").HopperWgmmaGemmKernel
persistent = example("dense_gemm/dense_gemm_persistent.py").HopperWgmmaGemmPersistentKernel
fused = example("attention/fmha.py")
norms = example("cta_norm/cta_norm.py")
grouped = example("grouped_gemm/grouped_gemm.py")
# Zeros are moved into the sums in front of each tile's first products, with no wgmma.fence between.
unfenced = [("async-hazard", r"starts a product on registers that .* touches: wgmma.fence is missing between")]


if __name__ == "__main__":
    product("dense", dense(cutlass.Float32, (128, 128), (1, 1)), m=200, n=264, k=136, batch=2)
    product("dense_2_1", dense(cutlass.Float32, (128, 128), (2, 1)), m=300, n=264, k=200)
    product("dense_1_2", dense(cutlass.Float32, (128, 256), (1, 2)), m=136, n=520, k=136, type="f16", majors="mnm")
    product("dense_2_2", dense(cutlass.Float32, (64, 128), (2, 2)), m=200, n=200, k=264, type="f16", majors="kkm")
    product("persistent", persistent(cutlass.Float32, (128, 128), (1, 1), 1, True), 2, m=264, n=520, k=136, known=unfenced)
    product("persistent_2_1", persistent(cutlass.Float32, (128, 128), (2, 1), 2, False), 1, m=520, n=264, k=200, type="f16", majors="mnn",
            known=unfenced)
    attention("attention_d64", 64)
    attention("attention_d128_causal", 128, causal=True, lengths=(333, 333))
    attention("attention_d128_persistent", 128, persistent=True, type="bf16", lengths=(300, 256))
    attention("attention_d64_window", 64, window=(70, 30), lengths=(300, 300), shared_by=1)
    SIZES = [(200, 136, 72), (64, 264, 200), (300, 128, 136)]
    for mode in grouped.utils.TensorMapUpdateMode:
        grouped_product(f"grouped_{mode.name}", mode, (1, 1), SIZES)
        grouped_product(f"grouped_{mode.name}_2_1", mode, (2, 1), SIZES)
    for kind in "layer", "rms":
        norm(kind, 1024)
        norm(kind, 264)
