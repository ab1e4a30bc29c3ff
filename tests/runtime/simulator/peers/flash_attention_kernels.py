# FlashAttention-4's kernels for Hopper, which CuTe DSL compiles without a GPU: TMA producer, ring of mbarriers, wgmma with
# probabilities in registers; backward, gradients of Q added up in memory by bulk copies.
# `python3 flash_attention_kernels.py FOLDER`, see peers.py.
import contextlib
import os
import sys

import peers

os.environ.update(FLASH_ATTENTION_ARCH="sm_90", FLASH_ATTENTION_NUM_SMS="132", FLASH_ATTENTION_CUTE_DSL_CACHE_ENABLED="0")
try:
    import numpy as np
    import torch
    from cute_recorder import Recorder
    from flash_attn.cute import interface
except ImportError as missing:
    peers.skip(f"FlashAttention-4 is not installed ({missing}): pip install --pre flash-attn-4 numpy")

interface.is_fake_mode = lambda: False  # tensors without memory are launched on all the same: the recorder takes them
recorder = Recorder()
cases = peers.Cases(sys.argv[1])


class Problem:
    """Q, K and V of one sequence, or of several one behind the other, as [t, heads, d]."""

    def __init__(self, d, causal, t=300, heads=2, shared_by=1, lengths=None, window=None):
        self.causal, self.window, self.lengths = causal, window, lengths or [(t, t)]
        self.random = np.random.default_rng(d + causal)
        self.scale = d ** -0.5
        self.batch = () if lengths else (1,)
        rows, columns = (sum(side) for side in zip(*self.lengths))
        self.values = [self.numbers(rows, heads, d)] + [self.numbers(columns, heads // shared_by, d) for _ in range(2)]

    def numbers(self, *shape):
        return peers.rounded(self.random.standard_normal(shape), "bf16")

    def tensor(self, values, type=torch.bfloat16):
        return recorder.tensor(values.reshape(*self.batch, *values.shape), type)

    def options(self):
        """What is visible, and where the sequences begin and end."""
        options = {"causal": self.causal}
        if self.window:
            options["window_size_left"], options["window_size_right"] = self.window
        if self.batch:
            return options
        for side, which in enumerate("qk"):
            lengths = [pair[side] for pair in self.lengths]
            options[f"cu_seqlens_{which}"] = recorder.tensor(np.cumsum([0, *lengths]), torch.int32)
            options[f"max_seqlen_{which}"] = max(lengths)
        return options

    def sequences(self, *arrays):
        """Those of Q's rows, K's, V's and then of more that have Q's, sequence by sequence."""
        rows, columns = (np.cumsum([pair[side] for pair in self.lengths])[:-1] for side in range(2))
        return zip(*(np.split(x, columns if i in (1, 2) else rows) for i, x in enumerate([*self.values, *arrays])))

    def result(self):
        out, sums = zip(*(peers.attention(q, k, v, self.scale, self.causal, self.window) for q, k, v in self.sequences()))
        return np.concatenate(out), np.concatenate(sums, 1)


@contextlib.contextmanager
def begin(name, d, causal, **shape):
    with cases.case(f"{name}_d{d}{'_causal' if causal else ''}") as case, recorder.recording(case):
        yield case, Problem(d, causal, **shape)


def forward(name, d, causal, known=(), **shape):
    with begin(f"forward{name}", d, causal, **shape) as (case, x):
        case.know(*known)
        out, lse, *_ = interface._flash_attn_fwd(*map(x.tensor, x.values), return_lse=True, **x.options())
        expected, sums = x.result()
        case.expect(recorder.argument(out), expected, most=5e-3)  # bf16: probabilities and result
        case.expect(recorder.argument(lse), sums, most=1e-6)


def gradients(q, k, v, d_out, scale, causal, window):
    """Of q, k and v, in double precision."""
    shared_by = q.shape[1] // k.shape[1]
    q, k, v, d_out = (x.astype(np.float64) for x in (q, k, v, d_out))
    out, sums = peers.attention(q, k, v, scale, causal, window)
    k, v = (x.repeat(shared_by, 1) for x in (k, v))
    p = np.exp(np.einsum("ihd,jhd->hij", q, k) * scale - sums[..., None]) * peers.visible(len(q), len(k), causal, window)
    d_p = np.einsum("ihd,jhd->hij", d_out, v)
    d_s = p * (d_p - np.einsum("ihd,ihd->hi", d_out, out)[..., None]) * scale
    d_k, d_v = (x.reshape(len(k), -1, shared_by, x.shape[2]).sum(2) for x in (
        np.einsum("hij,ihd->jhd", d_s, q), np.einsum("hij,ihd->jhd", p, d_out)))
    return np.einsum("hij,jhd->ihd", d_s, k), d_k, d_v


def backward(name, d, causal, deterministic=False, **shape):
    with begin(f"backward{name}", d, causal, **shape) as (case, x):
        # The first kernel: more threads than a block has rows store the next block's sums, too.
        case.know(("global-race", "BackwardPreprocess.* writes global memory at .* that block .* writes at PTX line"))
        d_out = x.numbers(*x.values[0].shape)
        out, sums = x.result()
        made = interface._flash_attn_bwd(*map(x.tensor, (*x.values, peers.rounded(out, "bf16"), d_out)),
                                         x.tensor(sums, torch.float32), deterministic=deterministic, **x.options())
        expected = zip(*(gradients(*arrays, x.scale, causal, x.window) for arrays in x.sequences(d_out)))
        for tensor, parts in zip(made, expected):
            case.expect(recorder.argument(tensor), np.concatenate(parts), most=1e-2)  # bf16: probabilities, their gradients, result


if __name__ == "__main__":
    for d in (64, 96, 128, 192, 256):
        for causal in (False, True):
            forward("", d, causal)
            backward("", d, causal)
    for step in forward, backward:
        step("_window", 64, False, window=(70, 30))
    LENGTHS = [(100, 100), (1, 130), (150, 150), (64, 200)]  # of Q and of K
    for causal in (False, True):
        # Rows of heads that share keys lie in one tile. Where it has no whole number of them, threads copy Q by cp.async: wgmma
        # reads it with no fence.proxy.async between, and rows beyond the last, which nobody stores, were not copied.
        forward("_shared_by_3", 128, causal, heads=3, shared_by=3,
                known=[("proxy-race", r"'wgmma\..* reads shared memory at \d+ that thread .* has written at .*'cp\.async\."),
                       ("uninitialised", r"'wgmma\..* reads shared memory at \d+ that nothing in its block has written")])
        backward("_in_order", 64, causal, deterministic=True)  # blocks wait for each other before they add
        backward("_shared_by_3", 128, causal, heads=3, shared_by=3)
        for step in forward, backward:
            step("_shared_by_2", 64, causal, heads=4, shared_by=2)
            step("_lengths", 64, causal, lengths=LENGTHS)
            step("_lengths_shared_by_2", 128, causal, heads=4, shared_by=2, lengths=LENGTHS)
