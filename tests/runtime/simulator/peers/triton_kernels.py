# Kernels in Triton, compiled to PTX without a GPU: `python3 triton_kernels.py FOLDER` writes FOLDER/NAME.ptx and, for
# each, a line "NAME ENTRY ARCHITECTURE THREADS SHARED_BYTES" to FOLDER/index. Exit code 77: Triton is not installed.
import os
import sys

try:
    import triton
    import triton.language as tl
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
except ImportError:
    print("Triton is not installed: pip install triton")
    sys.exit(77)


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
def attention(q, k, v, out, T, scale, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    d = tl.arange(0, D)
    head = tl.program_id(1) * T * D
    rows = tl.load(q + head + m[:, None] * D + d[None, :], mask=m[:, None] < T, other=0.0)
    largest = tl.full((BM,), -1e30, tl.float32)
    total = tl.zeros((BM,), tl.float32)
    acc = tl.zeros((BM, D), tl.float32)
    for first in range(0, tl.program_id(0) * BM + BM, BN):
        n = first + tl.arange(0, BN)
        keys = tl.load(k + head + n[None, :] * D + d[:, None], mask=n[None, :] < T, other=0.0)
        s = tl.dot(rows, keys) * (scale * 1.4426950408889634)
        s = tl.where((m[:, None] >= n[None, :]) & (n[None, :] < T), s, -1e30)
        now = tl.maximum(largest, tl.max(s, 1))
        p = tl.exp2(s - now[:, None])
        shrink = tl.exp2(largest - now)
        total = total * shrink + tl.sum(p, 1)
        values = tl.load(v + head + n[:, None] * D + d[None, :], mask=n[:, None] < T, other=0.0)
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


def compile(folder, index, name, kernel, arguments, constants, architecture, warps=4):
    signature = dict(arguments)
    signature.update({constant: "constexpr" for constant in constants})
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    made = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": warps})
    name = f"{name}_{architecture}"
    with open(os.path.join(folder, name + ".ptx"), "w") as file:
        file.write(made.asm["ptx"])
    index.write(f"{name} {made.metadata.name} {architecture} {32 * warps} {made.metadata.shared}\n")


def main(folder):
    f32, i32 = "*fp32", "i32"
    with open(os.path.join(folder, "index"), "w") as index:
        for architecture in (80, 90):
            def make(name, kernel, arguments, constants, warps=4):
                compile(folder, index, name, kernel, arguments, constants, architecture, warps)

            sizes = dict(M=i32, N=i32, K=i32)
            tiles = dict(BM=64, BN=64, BK=32)
            make("add", add, dict(x=f32, y=f32, out=f32, n=i32), dict(BLOCK=512))
            make("softmax", softmax, dict(x=f32, out=f32, n=i32), dict(BLOCK=1024))
            for kind in ("fp16", "bf16", "fp32", "fp8e5"):
                make("product_" + kind, product, dict(a="*" + kind, b="*" + kind, c=f32, **sizes), tiles)
            make("attention_fp16", attention,
                 dict(q="*fp16", k="*fp16", v="*fp16", out=f32, T=i32, scale="fp32"), dict(BM=64, BN=32, D=64))
            make("attention_bf16", attention,
                 dict(q="*bf16", k="*bf16", v="*bf16", out=f32, T=i32, scale="fp32"), dict(BM=128, BN=64, D=64), 8)
            make("inverse", inverse, dict(a=f32, out=f32), dict(N=32))
            make("scan_and_sort", scan_and_sort, dict(x=f32, sums=f32, order=f32, counts="*i32"), dict(BLOCK=256))
            if architecture == 90:
                make("product_tma", product_tma, dict(a="*fp16", b="*fp16", c=f32, **sizes), dict(BM=64, BN=64, BK=64))


if __name__ == "__main__":
    main(sys.argv[1])
