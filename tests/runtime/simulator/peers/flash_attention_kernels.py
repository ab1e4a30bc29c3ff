# FlashAttention-4's forward kernel for Hopper, which CuTe DSL compiles without a GPU: TMA producer, ring of mbarriers,
# wgmma with probabilities in registers. `python3 flash_attention_kernels.py FOLDER`, see peers.py.
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


def compiled(t, heads, d, causal):
    """PTX and the tile: rows of Q, rows of K."""
    for old in glob.glob(f"{dump}/*"):
        os.remove(old)
    tile = []
    choose = interface._get_fwd_config

    def watched(*args, **named):
        config = choose(*args, **named)
        tile.append((config.m_block_size, config.n_block_size))
        return config

    interface._get_fwd_config = watched
    try:
        with FakeTensorMode():
            q, k, v = (torch.empty(1, t, heads, d, dtype=torch.bfloat16, device="cuda") for _ in range(3))
            interface._flash_attn_fwd(q, k, v, causal=causal, return_lse=True)
    finally:
        interface._get_fwd_config = choose
    (file,) = glob.glob(f"{dump}/*.ptx")
    return open(file).read().rstrip("\0"), *tile[-1]


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


def attention(cases, d, causal, t=300, heads=2):
    ptx, rows, columns = compiled(t, heads, d, causal)
    entry = re.search(r"\.entry (\w+)", ptx)[1]
    threads = int(re.search(r"\.reqntid (\d+)", ptx)[1])
    random = np.random.default_rng(d + causal)
    scale = d ** -0.5
    with cases.case(f"forward_d{d}{'_causal' if causal else ''}") as case:
        values = [peers.rounded(random.standard_normal((t, heads, d)), "bf16") for _ in range(3)]
        q, k, v = (case.array(name, x, "bf16") for name, x in zip("qkv", values))
        out = case.array("out", np.full((t, heads, d), np.nan, np.float32), "bf16")
        lse = case.array("lse", np.full((heads, t), np.nan, np.float32))

        def tensor_map(array, rows):
            return {"tensormap": {**array, "dims": [d, t, heads, 1], "strides": [2 * heads * d, 2 * d, 2 * t * heads * d],
                                  "box": [64, rows, 1, 1], "swizzle": 128}}

        shape = {"struct": [{"i32": n} for n in (t, d, heads, 1)]}
        grid, order = schedule(-(-t // rows), heads, t, d, causal)
        args = [shape] * 4
        args += [{"struct": [lse, {"i32": t}, {"i32": heads}, {"i32": 1}, {"i64": t}, {"i64": heads * t}]}]
        args += [tensor_map(q, rows), tensor_map(k, columns), tensor_map(v, columns), tensor_map(out, rows)]
        args += [{"f32": scale * math.log2(math.e)}, {"bytes": "00"}, {"bytes": "00"}, *order]
        case.launch("forward", ptx, entry, args, grid, (threads, 1, 1), shared=227 * 1024)
        expected, sums = peers.attention(*values, scale, causal)
        case.expect(out, expected, most=5e-3)  # bf16: probabilities and result
        case.expect(lse, sums, most=1e-6)


cases = peers.Cases(sys.argv[1])
for d in (64, 128):
    for causal in (False, True):
        attention(cases, d, causal)
