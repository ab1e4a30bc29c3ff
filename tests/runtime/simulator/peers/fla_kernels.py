# Kernels of flash-linear-attention, which Triton compiles without a GPU: gated delta rule, delta rule, KDA, simple GLA,
# each from its inputs to its result. `python3 fla_kernels.py FOLDER`, see peers.py.
import contextlib
import sys
import types

import peers

try:
    import numpy as np
    import torch
    import triton
    from triton_recorder import Recorder

    # What the library asks about the device before its first launch.
    torch.cuda.get_device_name = lambda device=None: "NVIDIA H100"
    torch.cuda.get_device_capability = lambda device=None: (9, 0)
    torch.cuda.device_count = lambda: 1
    torch.cuda.current_device = lambda: 0
    torch.cuda.device = lambda device: contextlib.nullcontext()
    torch.cuda.get_device_properties = lambda device=None: types.SimpleNamespace(
        shared_memory_per_block_optin=227 * 1024, shared_memory_per_block=48 * 1024, multi_processor_count=132)
    recorder = Recorder(90)
    from fla.ops.delta_rule import chunk_delta_rule
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule
    from fla.ops.kda import chunk_kda
    from fla.ops.simple_gla import chunk_simple_gla
except ImportError as missing:
    peers.skip(f"flash-linear-attention is not installed ({missing}): pip install flash-linear-attention torch triton numpy")


def recurrence(q, k, v, scale, beta=None, decay=None, delta=False, initial=None):
    """Step by step in double precision. q, k: [t, heads, d]; v: [t, heads, dv]; decay, of each step or of each step and
    channel, as logarithm. Gives the result [t, heads, dv] and the last state [heads, d, dv]."""
    t, heads, d = q.shape
    state = np.zeros((heads, d, v.shape[-1])) if initial is None else initial.copy()
    out = np.empty(v.shape)
    for i in range(t):
        if decay is not None:
            state *= np.exp(decay[i]).reshape(heads, -1, 1)
        value = v[i] - np.einsum("hd,hdv->hv", k[i], state) if delta else v[i]
        if beta is not None:
            value = beta[i][:, None] * value
        state += k[i][:, :, None] * value[:, None, :]
        out[i] = np.einsum("hd,hdv->hv", q[i] * scale, state)
    return out, state


random = np.random.default_rng(7)


def numbers(*shape):
    return random.standard_normal(shape)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def bf16(x):
    return torch.tensor(x, dtype=torch.bfloat16)[None]


def exact(x):
    return x[0].double().numpy()


cases = peers.Cases(sys.argv[1])
t, heads, d = 150, 2, 64
q, k, v = bf16(numbers(t, heads, d)), bf16(unit(numbers(t, heads, d))), bf16(numbers(t, heads, d))
beta = bf16(1 / (1 + np.exp(-numbers(t, heads))))
decay = torch.tensor(-np.exp(numbers(t, heads) - 3), dtype=torch.float32)[None]
channels = torch.tensor(-np.exp(numbers(t, heads, d) - 3), dtype=torch.float32)[None]
initial = torch.tensor(numbers(1, heads, d, d), dtype=torch.float32)
scale = d ** -0.5


def check(name, function, most, *inputs, **reference):
    with cases.case(name) as case:
        recorder.begin(case)
        out, state = function(*inputs, scale=scale, initial_state=initial, output_final_state=True)
        expected, last = recurrence(exact(q), exact(k), exact(v), scale, initial=exact(initial), **reference)
        case.expect(recorder.argument(out), expected, most)
        case.expect(recorder.argument(state), last, most)


with torch.no_grad():
    check("gated_delta_rule", chunk_gated_delta_rule, 1e-2, q, k, v, decay, beta, beta=exact(beta), decay=exact(decay), delta=True)
    check("delta_rule", chunk_delta_rule, 1e-2, q, k, v, beta, beta=exact(beta), delta=True)
    check("kda", chunk_kda, 1e-2, q, k, v, channels, beta, beta=exact(beta), decay=exact(channels), delta=True)
    check("simple_gla", chunk_simple_gla, 1e-2, q, k, v, decay, decay=exact(decay))
