# Kernels in TileLang, compiled without a GPU: products and attention with its pipelines for Hopper (TMA, mbarriers,
# wgmma, a producer warpgroup) and for Ampere (cp.async, ldmatrix, mma). `python3 tilelang_kernels.py FOLDER`, see
# peers.py.
import math
import os
import sys

import peers

try:
    import numpy as np
    import tilelang
    import tilelang.language as T
    from tilelang.backend.target import determine_target
    from tilelang.contrib import nvcc
except ImportError as missing:
    peers.skip(f"TileLang is not installed ({missing}): pip install tilelang")
try:
    nvcc.get_nvcc_compiler()
except Exception:
    peers.skip("TileLang needs nvcc: put it on PATH")


def product(m, n, k, rows, columns, depth, kind, threads=128, stages=3):
    @T.prim_func
    def main(a: T.Tensor((m, k), kind), b: T.Tensor((n, k), kind), c: T.Tensor((m, n), "float32")):
        with T.Kernel(T.ceildiv(n, columns), T.ceildiv(m, rows), threads=threads) as (x, y):
            a_tile = T.alloc_shared((rows, depth), kind)
            b_tile = T.alloc_shared((columns, depth), kind)
            sums = T.alloc_fragment((rows, columns), "float32")
            T.clear(sums)
            for i in T.Pipelined(T.ceildiv(k, depth), num_stages=stages):
                T.copy(a[y * rows, i * depth], a_tile)
                T.copy(b[x * columns, i * depth], b_tile)
                T.gemm(a_tile, b_tile, sums, transpose_B=True)
            T.copy(sums, c[y * rows, x * columns])

    return main


def attention(t, heads, d, rows, columns, causal, kind, threads=256, stages=2):
    shape = (1, t, heads, d)
    scale = math.log2(math.e) / math.sqrt(d)

    @T.prim_func
    def main(q: T.Tensor(shape, kind), k: T.Tensor(shape, kind), v: T.Tensor(shape, kind), out: T.Tensor(shape, kind)):
        with T.Kernel(T.ceildiv(t, rows), heads, threads=threads) as (x, h):
            q_tile = T.alloc_shared((rows, d), kind)
            k_tile = T.alloc_shared((columns, d), kind)
            v_tile = T.alloc_shared((columns, d), kind)
            scores = T.alloc_fragment((rows, columns), "float32")
            chances = T.alloc_fragment((rows, columns), kind)
            sums = T.alloc_fragment((rows, d), "float32")
            largest = T.alloc_fragment((rows,), "float32")
            before = T.alloc_fragment((rows,), "float32")
            shrink = T.alloc_fragment((rows,), "float32")
            here = T.alloc_fragment((rows,), "float32")
            total = T.alloc_fragment((rows,), "float32")
            T.copy(q[0, x * rows:(x + 1) * rows, h, :], q_tile)
            T.fill(sums, 0)
            T.fill(total, 0)
            T.fill(largest, -1e30)
            for i in T.Pipelined(T.ceildiv((x + 1) * rows, columns) if causal else T.ceildiv(t, columns), num_stages=stages):
                T.copy(k[0, i * columns:(i + 1) * columns, h, :], k_tile)
                for r, c in T.Parallel(rows, columns):
                    seen = (x * rows + r >= i * columns + c if causal else True) and i * columns + c < t
                    scores[r, c] = T.if_then_else(seen, 0, -T.infinity("float32"))
                T.gemm(q_tile, k_tile, scores, transpose_B=True, policy=T.GemmWarpPolicy.FullRow)
                T.copy(largest, before)
                T.reduce_max(scores, largest, dim=1, clear=False)
                for r in T.Parallel(rows):
                    shrink[r] = T.exp2((before[r] - largest[r]) * scale)
                for r, c in T.Parallel(rows, columns):
                    scores[r, c] = T.exp2((scores[r, c] - largest[r]) * scale)
                T.reduce_sum(scores, here, dim=1)
                for r in T.Parallel(rows):
                    total[r] = total[r] * shrink[r] + here[r]
                for r, c in T.Parallel(rows, d):
                    sums[r, c] *= shrink[r]
                T.copy(scores, chances)
                T.copy(v[0, i * columns:(i + 1) * columns, h, :], v_tile)
                T.gemm(chances, v_tile, sums, policy=T.GemmWarpPolicy.FullRow)
            for r, c in T.Parallel(rows, d):
                sums[r, c] /= total[r]
            T.copy(sums, out[0, x * rows:(x + 1) * rows, h, :])

    return main


class Kernel:
    """PTX, and how the host's program launches it."""

    def __init__(self, function, architecture):
        target = determine_target({"kind": "cuda", "arch": architecture}, return_object=True)
        with target:
            made = tilelang.lower(function, target=target)
        self.ptx = nvcc.compile_cuda(made.kernel_source, "ptx", [f"-arch={architecture}"],
                                     options=nvcc.default_compile_options()).decode()
        ((_, device),) = made.device_mod.functions.items()
        ((_, host),) = made.host_mod.functions.items()
        self.entry = str(device.attrs["global_symbol"])
        extent = {str(name): int(size) for name, size in device.attrs["thread_extent"].items()}
        self.grid = [extent.get(f"blockIdx.{axis}", 1) for axis in "xyz"]
        self.block = [extent.get(f"threadIdx.{axis}", 1) for axis in "xyz"]
        self.shared = int(device.attrs.get("dyn_shared_memory_buf", 0))
        self.parameters = [parameter.name for parameter in device.params]
        maps = host.attrs["tma_descriptor_args"] if "tma_descriptor_args" in host.attrs else {}
        self.maps = {name.name: list(arguments) for name, arguments in maps.items()}

    def arguments(self, arrays):
        return [tensor_map(self.maps[name], arrays) if name in self.maps else arrays[name] for name in self.parameters]


def tensor_map(arguments, arrays):
    """What the host's program passes to cuTensorMapEncodeTiled."""
    _, _, _, rank, array, *numbers = arguments
    rank, numbers = int(rank), [int(n) for n in numbers]
    dims, strides, box, steps = (numbers[i * rank:(i + 1) * rank] for i in range(4))
    _, swizzle, _, fill = numbers[4 * rank:]
    return {"tensormap": {**arrays[array.name], "dims": dims, "strides": strides[1:], "box": box, "element_strides": steps,
                          "swizzle": [0, 32, 64, 128][swizzle], "fill": "nan" if fill else "zero"}}


TYPES = {"float16": "f16", "bfloat16": "bf16", "float8_e4m3fn": "f8e4m3", "float8_e5m2": "f8e5m2"}
random = np.random.default_rng(3)
cases = peers.Cases(sys.argv[1])


def check_product(name, kind, architecture="sm_90a", m=100, n=200, k=160, rows=64, columns=128, depth=32, **options):
    kernel = Kernel(product(m, n, k, rows, columns, depth, kind, **options), architecture)
    with cases.case(name, architecture) as case:
        a, b = (peers.rounded(random.standard_normal(shape), TYPES[kind]) for shape in ((m, k), (n, k)))
        arrays = {"a": case.array("a", a, TYPES[kind]), "b": case.array("b", b, TYPES[kind]),
                  "c": case.array("c", np.full((m, n), np.nan, np.float32))}
        case.launch("product", kernel.ptx, kernel.entry, kernel.arguments(arrays), kernel.grid, kernel.block, kernel.shared)
        # Of 8-bit floats wgmma's sums keep 14 bits.
        case.expect(arrays["c"], a.astype(float) @ b.T.astype(float), most=2e-4 if "float8" in kind else 1e-6)


def check_attention(name, causal, architecture="sm_90a", t=200, heads=2, d=64, rows=128, columns=64, kind="float16", **options):
    kernel = Kernel(attention(t, heads, d, rows, columns, causal, kind, **options), architecture)
    with cases.case(name, architecture) as case:
        q, k, v = (peers.rounded(random.standard_normal((t, heads, d)), TYPES[kind]) for _ in range(3))
        arrays = {name: case.array(name, values[None], TYPES[kind]) for name, values in zip("qkv", (q, k, v))}
        arrays["out"] = case.array("out", np.full((1, t, heads, d), np.nan, np.float32), TYPES[kind])
        case.launch("forward", kernel.ptx, kernel.entry, kernel.arguments(arrays), kernel.grid, kernel.block, kernel.shared)
        case.expect(arrays["out"], peers.attention(q, k, v, d ** -0.5, causal)[0], most=1e-3 if kind == "float16" else 5e-3)


if __name__ == "__main__":
    check_product("product_fp16", "float16")
    check_product("product_bf16_two_warpgroups", "bfloat16", rows=128, threads=256, depth=64)
    check_product("product_e4m3", "float8_e4m3fn", depth=64)
    check_product("product_fp16_sm_80", "float16", "sm_80")
    check_attention("attention", False)
    check_attention("attention_causal_d128", True, d=128, columns=128, kind="bfloat16")
    check_attention("attention_sm_80", False, "sm_80", rows=64, threads=128)
