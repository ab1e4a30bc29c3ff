# Kernels of the other scripts at sizes that fill a GPU, for bench_estimate: those of the compilers that this Python has.
# What they compute is not checked. `python3 large_kernels.py FOLDER [triton|linear_attention|tilelang|flash_attention|cutlass]`,
# see peers.py; more than one Python may fill a folder, each with other parts.
import subprocess
import sys

import peers

cases = peers.Cases(sys.argv[1], filled=True)


def triton():
    import numpy as np
    import triton_kernels as small
    from triton_recorder import Array, Recorder

    def case(name, kernel, grid, arguments, architecture=90, **options):
        recorder = Recorder(architecture)
        with cases.case(name, "sm_90a" if architecture == 90 else "sm_80") as made:
            recorder.begin(made)
            kernel[grid](*arguments, **options)

    def some(kind, *shape):
        return Array(np.ones(shape, np.float32), kind)

    def nothing(kind, *shape):
        return Array(np.zeros(shape, np.float32), kind)

    def product(name, kernel, kind, BM=128, BN=256, BK=64, k=4096, **options):
        m = n = 4096
        arguments = some(kind, m, k), some(kind, k, n), nothing("fp32", m, n), m, n, k
        case(name, kernel, (m // BM, n // BN), arguments, BM=BM, BN=BN, BK=BK, num_warps=8, **options)

    product("product_bf16", small.product, "bf16", num_stages=3)
    product("product_tma_bf16", small.product_tma, "bf16", BN=128, num_stages=4)
    product("product_fp8", small.product, "fp8e4nv", BN=128, BK=128, num_stages=3)
    product("product_bf16_80", small.product, "bf16", BN=128, BK=32, k=2048, num_stages=4, architecture=80)
    t, heads, d = 4096, 16, 64
    for name, kernel, result in ("attention", small.attention, "fp32"), ("attention_tma", small.attention_tma, "fp16"):
        arguments = *(some("fp16", heads, t, d) for _ in range(3)), nothing(result, heads, t, d), t, d ** -0.5
        case(name, kernel, (t // 128, heads), arguments, SHARED_BY=1, BM=128, BN=64, D=d, num_warps=8)
    rows, n = 8192, 8192
    case("softmax", small.softmax, (rows,), (some("fp32", rows, n), nothing("fp32", rows, n), n), BLOCK=n, num_warps=8)
    case("layer_norm", small.layer_norm, (rows,), (some("bf16", rows, n), some("fp32", n), some("fp32", n),
         nothing("fp32", rows, n), nothing("fp32", rows), n, 1e-5), BLOCK=1024)
    n = 1 << 25
    case("add", small.add, (n // 1024,), (some("fp32", n), some("fp32", n), nothing("fp32", n), n), BLOCK=1024)


def linear_attention():
    import torch
    from triton_recorder import Recorder, pretend_h100
    pretend_h100(torch)
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule
    recorder = Recorder(90)
    t, heads, d = 8192, 16, 128
    q, k, v = (torch.ones(1, t, heads, d, dtype=torch.bfloat16) for _ in range(3))
    beta = torch.full((1, t, heads), 0.5, dtype=torch.bfloat16)
    g = torch.full((1, t, heads), -0.1)
    with cases.case("gated_delta_rule") as case:
        recorder.begin(case)
        chunk_gated_delta_rule(q, k, v, g=g, beta=beta, scale=d ** -0.5)


def tilelang():
    import numpy as np
    import tilelang_kernels as small
    n = 4096
    kernel = small.Kernel(small.product(n, n, n, 128, 256, 64, "bfloat16", threads=256), "sm_90a")
    with cases.case("tilelang_product_bf16") as case:
        arrays = {name: case.array(name, np.ones((n, n), np.float32), "bf16") for name in "ab"}
        arrays["c"] = case.array("c", np.zeros((n, n), np.float32))
        case.launch("product", kernel.ptx, kernel.entry, kernel.arguments(arrays), kernel.grid, kernel.block, kernel.shared)


def flash_attention():
    import numpy as np
    import flash_attention_kernels as small
    import torch
    interface, recorder = small.interface, small.recorder

    def tensors(d, heads, how_many, t=4096):
        return [recorder.tensor(np.ones((1, t, heads, d), np.float32), torch.bfloat16) for _ in range(how_many)]

    for d, heads in (64, 16), (128, 16):
        for causal in False, True:
            with cases.case(f"fa4_forward_d{d}{'_causal' if causal else ''}") as case, recorder.recording(case):
                interface._flash_attn_fwd(*tensors(d, heads, 3), return_lse=True, causal=causal)
    d, heads = 128, 8
    with cases.case("fa4_backward_d128_causal") as case, recorder.recording(case):
        q, k, v, out, d_out = tensors(d, heads, 5)
        sums = recorder.tensor(np.full((1, heads, q.shape[1]), 10, np.float32), torch.float32)
        interface._flash_attn_bwd(q, k, v, out, d_out, sums, causal=True)


def cutlass():
    import numpy as np
    import cutlass_kernels as small
    small.multiprocessors = 132
    n = 4096
    for name, kernel, constants in (
            ("cutlass_dense", small.dense(small.cutlass.Float32, (128, 256), (2, 1)), ()),
            ("cutlass_persistent", small.persistent(small.cutlass.Float32, (128, 256), (2, 1), 1, True), (66,))):
        with cases.case(name) as case, small.recorder.recording(case):
            operands = small.Operands()
            for values in np.ones((1, n, n), np.float32), np.ones((1, n, n), np.float32), small.empty(1, n, n):
                operands.add(values, "bf16", (1, 2, 0), 1)
            operands.run(kernel, *constants)


if len(sys.argv) > 2:
    try:
        globals()[sys.argv[2]]()
    except ImportError as missing:
        peers.skip(missing)
    sys.exit()
# Each by itself: the recorders stand where a process has one driver.
parts = triton, linear_attention, tilelang, flash_attention, cutlass
codes = [subprocess.run([sys.executable, __file__, sys.argv[1], part.__name__]).returncode for part in parts]
sys.exit(max((code for code in codes if code != peers.SKIPPED), default=peers.SKIPPED))
