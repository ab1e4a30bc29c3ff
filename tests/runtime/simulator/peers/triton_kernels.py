# Kernels in Triton, compiled to PTX without a GPU: `python3 triton_kernels.py FOLDER`, see peers.py.
import contextlib
import sys

import peers

try:
    import numpy as np
    import triton
    import triton.language as tl
    from triton_recorder import Array, Recorder
except ImportError as missing:
    peers.skip(f"Triton is not installed ({missing}): pip install triton numpy")


@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < n
    tl.store(out + i, tl.load(x + i, mask=inside) + tl.load(y + i, mask=inside), mask=inside)


@triton.jit
def softmax(x, out, n, BLOCK: tl.constexpr):
    row = tl.program_id(0) * n
    i = tl.arange(0, BLOCK)
    v = tl.load(x + row + i, mask=i < n, other=-float("inf"))
    e = tl.exp(v - tl.max(v, axis=0))
    tl.store(out + row + i, e / tl.sum(e, axis=0), mask=i < n)


@triton.jit
def product(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for first in range(0, K, BK):
        k = first + tl.arange(0, BK)
        x = tl.load(a + m[:, None] * K + k[None, :], mask=(m[:, None] < M) & (k[None, :] < K), other=0.0)
        y = tl.load(b + k[:, None] * N + n[None, :], mask=(k[:, None] < K) & (n[None, :] < N), other=0.0)
        acc = tl.dot(x, y, acc)
    tl.store(c + m[:, None] * N + n[None, :], acc, mask=(m[:, None] < M) & (n[None, :] < N))


@triton.jit
def product_tma(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    da = tl.make_tensor_descriptor(a, [M, K], [K, 1], [BM, BK])
    db = tl.make_tensor_descriptor(b, [K, N], [N, 1], [BK, BN])
    dc = tl.make_tensor_descriptor(c, [M, N], [N, 1], [BM, BN])
    m = tl.program_id(0) * BM
    n = tl.program_id(1) * BN
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, K, BK):
        acc = tl.dot(da.load([m, k]), db.load([k, n]), acc)
    dc.store([m, n], acc)


@triton.jit
def layer_norm(x, weight, bias, out, mean, n, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, n, BLOCK):
        i = first + tl.arange(0, BLOCK)
        total += tl.load(x + row * n + i, mask=i < n, other=0.0).to(tl.float32)
    middle = tl.sum(total, 0) / n
    squares = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, n, BLOCK):
        i = first + tl.arange(0, BLOCK)
        v = tl.load(x + row * n + i, mask=i < n, other=0.0).to(tl.float32)
        squares += tl.where(i < n, (v - middle) * (v - middle), 0.0)
    factor = tl.rsqrt(tl.sum(squares, 0) / n + eps)
    tl.store(mean + row, middle)
    for first in range(0, n, BLOCK):
        i = first + tl.arange(0, BLOCK)
        v = tl.load(x + row * n + i, mask=i < n, other=0.0).to(tl.float32)
        v = (v - middle) * factor * tl.load(weight + i, mask=i < n) + tl.load(bias + i, mask=i < n)
        tl.store(out + row * n + i, v, mask=i < n)


@triton.jit
def split_product(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    # Blocks along the third axis share the sums of a tile.
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for first in range(tl.program_id(2) * BK, K, BK * tl.num_programs(2)):
        k = first + tl.arange(0, BK)
        x = tl.load(a + m[:, None] * K + k[None, :], mask=(m[:, None] < M) & (k[None, :] < K), other=0.0)
        y = tl.load(b + k[:, None] * N + n[None, :], mask=(k[:, None] < K) & (n[None, :] < N), other=0.0)
        acc = tl.dot(x, y, acc)
    tl.atomic_add(c + m[:, None] * N + n[None, :], acc, mask=(m[:, None] < M) & (n[None, :] < N), sem="relaxed")


@triton.jit
def integer_product(a, b, c, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.arange(0, BM)
    n = tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.int32)
    for first in range(0, K, BK):
        k = first + tl.arange(0, BK)
        acc = tl.dot(tl.load(a + m[:, None] * K + k[None, :]), tl.load(b + n[None, :] * K + k[:, None]), acc)
    tl.store(c + m[:, None] * BN + n[None, :], acc)


@triton.jit
def attention_tma(q, k, v, out, T, scale, SHARED_BY: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr):
    head = tl.program_id(1).to(tl.int64) * T * D
    shared = (tl.program_id(1) // SHARED_BY).to(tl.int64) * T * D
    first_row = tl.program_id(0) * BM
    dq = tl.make_tensor_descriptor(q + head, [T, D], [D, 1], [BM, D])
    dk = tl.make_tensor_descriptor(k + shared, [T, D], [D, 1], [BN, D])
    dv = tl.make_tensor_descriptor(v + shared, [T, D], [D, 1], [BN, D])
    do = tl.make_tensor_descriptor(out + head, [T, D], [D, 1], [BM, D])
    rows = dq.load([first_row, 0])
    m = first_row + tl.arange(0, BM)
    largest = tl.full((BM,), -1e30, tl.float32)
    total = tl.zeros((BM,), tl.float32)
    acc = tl.zeros((BM, D), tl.float32)
    for first in tl.range(0, first_row + BM, BN, warp_specialize=True):
        n = first + tl.arange(0, BN)
        s = tl.dot(rows, dk.load([first, 0]).T) * (scale * 1.4426950408889634)
        s = tl.where((m[:, None] >= n[None, :]) & (n[None, :] < T), s, -1e30)
        now = tl.maximum(largest, tl.max(s, 1))
        p = tl.exp2(s - now[:, None])
        shrink = tl.exp2(largest - now)
        total = total * shrink + tl.sum(p, 1)
        values = dv.load([first, 0])
        acc = tl.dot(p.to(values.dtype), values, acc * shrink[:, None])
        largest = now
    do.store([first_row, 0], (acc / total[:, None]).to(rows.dtype))


@triton.jit
def attention(q, k, v, out, T, scale, SHARED_BY: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    d = tl.arange(0, D)
    head = tl.program_id(1) * T * D
    shared = tl.program_id(1) // SHARED_BY * T * D
    rows = tl.load(q + head + m[:, None] * D + d[None, :], mask=m[:, None] < T, other=0.0)
    largest = tl.full((BM,), -1e30, tl.float32)
    total = tl.zeros((BM,), tl.float32)
    acc = tl.zeros((BM, D), tl.float32)
    for first in range(0, tl.program_id(0) * BM + BM, BN):
        n = first + tl.arange(0, BN)
        keys = tl.load(k + shared + n[None, :] * D + d[:, None], mask=n[None, :] < T, other=0.0)
        s = tl.dot(rows, keys) * (scale * 1.4426950408889634)
        s = tl.where((m[:, None] >= n[None, :]) & (n[None, :] < T), s, -1e30)
        now = tl.maximum(largest, tl.max(s, 1))
        p = tl.exp2(s - now[:, None])
        shrink = tl.exp2(largest - now)
        total = total * shrink + tl.sum(p, 1)
        values = tl.load(v + shared + n[:, None] * D + d[None, :], mask=n[:, None] < T, other=0.0)
        acc = tl.dot(p.to(values.dtype), values, acc * shrink[:, None])
        largest = now
    tl.store(out + head + m[:, None] * D + d[None, :], acc / total[:, None], mask=m[:, None] < T)


@triton.jit
def inverse(a, out, N: tl.constexpr):
    # (1 + strictly lower triangle)^-1, row by row: the heart of a chunked delta rule.
    i = tl.arange(0, N)
    lower = tl.where(i[:, None] > i[None, :], tl.load(a + i[:, None] * N + i[None, :]), 0.0)
    r = tl.where(i[:, None] == i[None, :], 1.0, 0.0)
    for k in range(1, N):
        row = tl.sum(tl.where(i[:, None] == k, lower, 0.0), 0)
        r += tl.where(i[:, None] == k, -tl.sum(row[:, None] * r, 0)[None, :], 0.0)
    tl.store(out + i[:, None] * N + i[None, :], r)


@triton.jit
def scan_and_sort(x, sums, order, counts, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    v = tl.load(x + i)
    tl.store(sums + i, tl.cumsum(v, 0))
    tl.store(order + i, tl.sort(v))
    tl.atomic_add(counts + tl.arange(0, 16), tl.histogram(v.to(tl.int32), 16))


cases = peers.Cases(sys.argv[1])
random = np.random.default_rng(1)
TYPES = {"fp32": None, "fp16": "f16", "bf16": "bf16", "fp8e5": "f8e5m2", "fp8e4nv": "f8e4m3"}


def numbers(shape, kind="fp32"):
    """An array for a kernel and its values in double precision."""
    values = random.standard_normal(shape).astype(np.float32)
    if TYPES[kind]:
        values = peers.rounded(values, TYPES[kind])
    return Array(values, kind), values.astype(np.float64)


def nothing(shape, kind="fp32"):
    return Array(np.full(shape, np.nan, np.float32), kind)


def check_rows(begin):
    x, values = numbers(1000)
    y, others = numbers(1000)
    out = nothing(1000)
    with begin("add") as expect:
        add[(2,)](x, y, out, 1000, BLOCK=512)
        expect(out, values + others, 1e-7)
    x, values = numbers((3, 700))
    out = nothing((3, 700))
    with begin("softmax") as expect:
        softmax[(3,)](x, out, 700, BLOCK=1024)
        e = np.exp(values)
        expect(out, e / e.sum(1, keepdims=True), 1e-6)
    x, values = numbers((5, 1500), "bf16")
    (weight, w), (bias, b) = numbers(1500), numbers(1500)
    out, mean = nothing((5, 1500)), nothing(5)
    with begin("layer_norm") as expect:
        layer_norm[(5,)](x, weight, bias, out, mean, 1500, 1e-5, BLOCK=1024)
        centred = values - values.mean(1, keepdims=True)
        expect(out, centred / np.sqrt((centred ** 2).mean(1, keepdims=True) + 1e-5) * w + b, 1e-6)
        expect(mean, values.mean(1), 1e-5)


def check_products(begin, architecture):
    tiles = dict(BM=64, BN=64, BK=32)

    def check(name, kernel, kind, grid, m, n, k, out=None, **options):
        (a, x), (b, y) = numbers((m, k), kind), numbers((k, n), kind)
        out = out or nothing((m, n))
        with begin(name) as expect:
            kernel[grid](a, b, out, m, n, k, **{**tiles, **options})
            # Of fp32: products of tf32. Of 8-bit floats: wgmma's sums keep 14 bits.
            expect(out, x @ y, 1e-3 if kind == "fp32" else 2e-4 if kind.startswith("fp8") and architecture >= 90 else 1e-6)

    for kind in ["fp16", "bf16", "fp32", "fp8e5"] + ["fp8e4nv"] * (architecture >= 90):
        check("product_" + kind, product, kind, (2, 2), 100, 90, 130)
    check("product_split", split_product, "fp16", (2, 2, 3), 100, 90, 130, out=Array(np.zeros((100, 90), np.float32), "fp32"))
    if architecture >= 90:
        check("product_tma", product_tma, "fp16", (2, 2), 100, 96, 136, BK=64)  # strides: multiples of 16 bytes
        check("product_tma_bf16", product_tma, "bf16", (1, 1), 100, 96, 136, BM=128, BN=128, BK=64, num_warps=8, num_stages=4)
        check("product_two_blocks", product_tma, "fp16", (1, 1), 100, 96, 136, BM=128, BN=128, BK=64, num_ctas=2)
    a, b = (random.integers(-128, 128, (64, 96)).astype(np.int8) for _ in range(2))
    out = Array(np.zeros((64, 64), np.int32), "i32")
    with begin("product_int8") as expect:
        integer_product[(1,)](Array(a, "i8"), Array(b, "i8"), out, 96, BM=64, BN=64, BK=32)
        expect(out, a.astype(np.int32) @ b.T.astype(np.int32), 0)


def check_attention(begin, architecture):
    t, d = 150, 64

    def check(name, kernel, kind, BM, BN, most, result="fp32", heads=2, shared_by=1, known=(), **options):
        (q, x), (k, y), (v, z) = (numbers((n, t, d), kind) for n in (heads, heads // shared_by, heads // shared_by))
        out = nothing((heads, t, d), result)
        expected, _ = peers.attention(*(a.swapaxes(0, 1) for a in (x, y, z)), 0.125, causal=True)
        with begin(name, known) as expect:
            kernel[(-(-t // BM), heads)](q, k, v, out, t, 0.125, SHARED_BY=shared_by, BM=BM, BN=BN, D=d, **options)
            expect(out, expected.swapaxes(0, 1), most)

    check("attention_fp16", attention, "fp16", 64, 32, 1e-3)
    check("attention_bf16", attention, "bf16", 128, 64, 4e-3, num_warps=8)
    check("attention_shared_keys", attention, "bf16", 64, 32, 4e-3, heads=6, shared_by=3)
    if architecture >= 90:
        check("attention_tma", attention_tma, "fp16", 128, 64, 1e-3, "fp16", num_warps=8)
        # Warps have roles here: all of a group tell the others what is next, and two groups store the same tile of the result.
        check("attention_tma_shared_keys", attention_tma, "fp16", 64, 64, 1e-3, "fp16", heads=4, shared_by=2,
              known=[peers.SAME_VALUES, ("async-hazard", r"writes global memory .* cp\.async\.bulk\.tensor.* may still write")])


def check_others(begin):
    lower, values = numbers((32, 32))
    lower.values *= 0.3
    out = nothing((32, 32))
    with begin("inverse", known=[peers.SAME_VALUES]) as expect:
        inverse[(1,)](lower, out, N=32)
        expect(out, np.linalg.inv(np.eye(32) + np.tril(lower.values.astype(np.float64), -1)), 1e-6)
    values = random.uniform(0, 8, 256).astype(np.float32)
    sums, order, counts = nothing(256), nothing(256), Array(np.zeros(16, np.int32), "i32")
    with begin("scan_and_sort", known=[peers.SAME_VALUES]) as expect:
        scan_and_sort[(1,)](Array(values, "fp32"), sums, order, counts, BLOCK=256)
        expect(sums, np.cumsum(values.astype(np.float64)), 1e-6)
        expect(order, np.sort(values), 0)
        expect(counts, np.bincount(values.astype(int), minlength=16).astype(np.int32), 0)


if __name__ == "__main__":
    for architecture in (80, 90):
        recorder = Recorder(architecture)

        @contextlib.contextmanager
        def begin(name, known=()):
            with cases.case(f"{name}_{architecture}", "sm_80" if architecture == 80 else "sm_90a") as case:
                recorder.begin(case)
                case.know(*known)
                yield lambda array, expected, most: case.expect(recorder.argument(array), expected, most)

        check_rows(begin)
        check_products(begin, architecture)
        check_attention(begin, architecture)
        check_others(begin)
