# FlashAttention-4's kernels for Hopper, which CuTe DSL compiles without a GPU: TMA producer, ring of mbarriers, wgmma with
# probabilities in registers; backward, gradients of Q added up in memory by bulk copies.
# `python3 flash_attention_kernels.py FOLDER`, see peers.py.
import glob
import math
import os
import re
import sys
import tempfile

import peers

dump = tempfile.mkdtemp()
os.environ.update(FLASH_ATTENTION_ARCH="sm_90", CUTE_DSL_ARCH="sm_90a", FLASH_ATTENTION_NUM_SMS="132", CUTE_DSL_KEEP_PTX="1",
                  CUTE_DSL_DUMP_DIR=dump, FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED="0")
try:
    import numpy as np
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from flash_attn.cute import interface
except ImportError as missing:
    peers.skip(f"FlashAttention-4 is not installed ({missing}): pip install --pre flash-attn-4 numpy")


class Kernel:
    def __init__(self, file):
        self.ptx = open(file).read().rstrip("\0")
        self.entry = re.search(r"\.entry (\w+)", self.ptx)[1]
        self.threads = int(re.search(r"\.reqntid (\d+)", self.ptx)[1])

    def launch(self, case, name, args, grid):
        case.launch(name, self.ptx, self.entry, args, grid, (self.threads, 1, 1), shared=227 * 1024)


def compiled(function, chooser, *shapes, **named):
    """What `function` compiles, given arrays of these shapes, and the tile that interface.`chooser` takes for it: rows of
    Q, rows of K."""
    for old in glob.glob(f"{dump}/*"):
        os.remove(old)
    for step in vars(interface).values():
        if hasattr(step, "compile_cache"):
            step.compile_cache.clear()
    tile = []
    choose = getattr(interface, chooser)

    def watched(*args, **options):
        config = choose(*args, **options)
        tile.append((config.m_block_size, config.n_block_size))
        return config

    setattr(interface, chooser, watched)
    try:
        with FakeTensorMode():
            arrays = [torch.empty(shape, dtype=torch.bfloat16 if len(shape) == 4 else torch.float32, device="cuda")
                      for shape in shapes]
            function(*arrays, **named)
    finally:
        setattr(interface, chooser, choose)
    return [Kernel(file) for file in sorted(glob.glob(f"{dump}/*.ptx"))], *tile[-1]


def divisor(n):
    """What multiplication and shifts need in place of a division by n."""
    log = (n - 1).bit_length()
    factor = ((1 << 32) * ((1 << log) - n)) // n + 1
    shifts = min(log, 1) | max(log - 1, 0) << 8
    return [{"struct": [{"i32": n}, {"i32": factor}, {"i32": shifts}]}, {"i32": 0}]


def schedule(blocks, heads, t, d, causal):
    """The grid, and the parameters that say which block does what."""
    if not causal:
        return (blocks, heads, 1), [{"i32": n} for n in (blocks, heads, 1)] + divisor(1)
    at_once = 1 << int(math.log2(50 * 2**20 // (t * 2 * d * 2)))  # heads whose K and V stay in the L2 cache
    arguments = [{"i32": n} for n in (blocks * heads, blocks, heads, 1, at_once)]
    for n in (heads, at_once, at_once * blocks, max(heads % at_once, 1)):
        arguments += divisor(n)
    return (blocks * heads, 1, 1), arguments + [{"i32": heads // at_once}] + divisor(1)


def tensor(array, shape, strides):
    """A tensor by value: dimensions, and strides of those that are not next to each other in memory."""
    return {"struct": [array] + [{"i32": n} for n in shape] + [{"i64": n} for n in strides]}


class Problem:
    """One batch of Q, K, V as [t, heads, d], and the parameters that all kernels take."""

    def __init__(self, case, t, heads, d, causal):
        self.case, self.t, self.heads, self.d, self.causal = case, t, heads, d, causal
        self.random = np.random.default_rng(d + causal)
        self.scale = d ** -0.5
        self.values = [self.numbers() for _ in range(3)]
        self.q, self.k, self.v = (case.array(name, x, "bf16") for name, x in zip("qkv", self.values))
        self.shape = {"struct": [{"i32": n} for n in (t, d, heads, 1)]}
        self.scale_log2 = {"f32": self.scale * math.log2(math.e)}

    def numbers(self):
        return peers.rounded(self.random.standard_normal((self.t, self.heads, self.d)), "bf16")

    def result(self, name):
        return self.case.array(name, np.full((self.t, self.heads, self.d), np.nan, np.float32), "bf16")

    def tensor_map(self, array, rows):
        t, heads, d = self.t, self.heads, self.d
        return {"tensormap": {**array, "dims": [d, t, heads, 1], "strides": [2 * heads * d, 2 * d, 2 * t * heads * d],
                              "box": [64, rows, 1, 1], "swizzle": 128}}


def forward(cases, d, causal, t=300, heads=2):
    shape = (1, t, heads, d)
    (kernel,), rows, columns = compiled(interface._flash_attn_fwd, "_get_fwd_config", *[shape] * 3, causal=causal, return_lse=True)
    with cases.case(f"forward_d{d}{'_causal' if causal else ''}") as case:
        x = Problem(case, t, heads, d, causal)
        out, lse = x.result("out"), case.array("lse", np.full((heads, t), np.nan, np.float32))
        grid, order = schedule(-(-t // rows), heads, t, d, causal)
        maps = [x.tensor_map(x.q, rows), x.tensor_map(x.k, columns), x.tensor_map(x.v, columns), x.tensor_map(out, rows)]
        none = {"bytes": "00"}
        kernel.launch(case, "forward", [x.shape] * 4 + [tensor(lse, (t, heads, 1), (t, heads * t))] + maps +
                      [x.scale_log2, none, none, *order], grid)
        expected, sums = peers.attention(*x.values, x.scale, causal)
        case.expect(out, expected, most=5e-3)  # bf16: probabilities and result
        case.expect(lse, sums, most=1e-6)


def gradients(q, k, v, d_out, scale, causal):
    """Of q, k and v, in double precision."""
    q, k, v, d_out = (x.astype(np.float64) for x in (q, k, v, d_out))
    out, sums = peers.attention(q, k, v, scale, causal)
    p = np.exp(np.einsum("ihd,jhd->hij", q, k) * scale - sums[..., None])
    if causal:
        p *= np.tri(len(q))
    d_p = np.einsum("ihd,jhd->hij", d_out, v)
    d_s = p * (d_p - np.einsum("ihd,ihd->hi", d_out, out)[..., None]) * scale
    return np.einsum("hij,jhd->ihd", d_s, k), np.einsum("hij,ihd->jhd", d_s, q), np.einsum("hij,ihd->jhd", p, d_out)


def backward(cases, d, causal, t=300, heads=2):
    shape = (1, t, heads, d)
    (finish, prepare, main), rows, columns = compiled(interface._flash_attn_bwd, "_tile_size_bwd_sm90", *[shape] * 5, (1, heads, t),
                                                      causal=causal)
    with cases.case(f"backward_d{d}{'_causal' if causal else ''}") as case:
        case.know("global-race")  # "prepare": a block has twice the threads of its rows, which store the next block's sums, too
        x = Problem(case, t, heads, d, causal)
        d_out = x.numbers()
        out, sums = peers.attention(*x.values, x.scale, causal)
        out, lse = case.array("out", peers.rounded(out, "bf16"), "bf16"), case.array("lse", sums.astype(np.float32))
        d_out_array = case.array("d_out", d_out, "bf16")
        d_q, d_k, d_v = (x.result(name) for name in ("d_q", "d_k", "d_v"))
        padded = -(-t // rows) * rows
        by_row = (padded, heads, 1), (padded, heads * padded)
        d_sums, lse_log2, d_q_sums = (case.array(name, np.full(size, np.nan, np.float32)) for name, size in (
            ("d_sums", (heads, padded)), ("lse_log2", (heads, padded)), ("d_q_sums", (heads, padded * d))))
        scaled = tensor(lse_log2, *by_row), tensor(d_sums, *by_row)
        sum_shape = (padded * d, heads, 1), (padded * d, heads * padded * d)
        lies = (t, d, heads, 1), (heads * d, d, t * heads * d)
        q_grid, q_order = schedule(-(-t // rows), heads, t, d, False)
        k_grid, k_order = schedule(-(-t // columns), heads, t, d, False)
        none = {"bytes": "00"}
        prepare.launch(case, "prepare", [tensor(out, *lies), tensor(d_out_array, *lies), scaled[1],
                                         tensor(lse, (t, heads, 1), (t, heads * t)), scaled[0], tensor(d_q_sums, *sum_shape),
                                         x.scale_log2, *q_order], q_grid)
        maps = [x.tensor_map(array, n) for array, n in ((x.q, rows), (x.k, columns), (x.v, columns), (d_out_array, rows),
                                                        (d_k, columns), (d_v, columns))]
        main.launch(case, "main", [x.shape] * 6 + maps + [*scaled, tensor(d_q_sums, *sum_shape), *[none] * 4, x.scale_log2,
                                                          {"f32": x.scale}, *k_order], k_grid)
        finish.launch(case, "finish", [tensor(d_q_sums, (1, heads, padded * d), (heads * padded * d, padded * d)),
                                       tensor(d_q, (1, t, heads, d), (t * heads * d, heads * d, d)), {"f32": x.scale}, none,
                                       *q_order], q_grid)
        for array, expected in zip((d_q, d_k, d_v), gradients(*x.values, d_out, x.scale, causal)):
            case.expect(array, expected, most=1e-2)  # bf16: probabilities, their gradients, result


cases = peers.Cases(sys.argv[1])
for d in (64, 128, 256):
    for causal in (False, True):
        forward(cases, d, causal)
        backward(cases, d, causal)
