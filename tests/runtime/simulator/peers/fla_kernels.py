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
    from fla.ops.delta_rule import chunk as delta_rule
    from fla.ops.delta_rule import chunk_delta_rule
    from fla.ops.gated_delta_rule import chunk as gated_delta_rule
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule
    from fla.ops.kda import chunk_kda
    from fla.ops.simple_gla import chunk_simple_gla
except ImportError as missing:
    peers.skip(f"flash-linear-attention is not installed ({missing}): pip install flash-linear-attention torch triton numpy")


def recurrence(q, k, v, scale, initial, beta=None, decay=None, delta=False):
    """Step by step. q, k: [t, heads, d]; v: [t, heads, dv]; initial: [heads, d, dv]; decay, of each step or of each step
    and channel, as logarithm. Gives the result [t, heads, dv] and the last state."""
    state, out = initial, []
    for i in range(len(q)):
        if decay is not None:
            state = state * decay[i].exp().reshape(len(state), -1, 1)
        value = v[i] - torch.einsum("hd,hdv->hv", k[i], state) if delta else v[i]
        if beta is not None:
            value = beta[i][:, None] * value
        state = state + k[i][:, :, None] * value[:, None, :]
        out.append(torch.einsum("hd,hdv->hv", q[i] * scale, state))
    return torch.stack(out), state


random = np.random.default_rng(7)


def numbers(*shape):
    return random.standard_normal(shape)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def bf16(x):
    return torch.tensor(x, dtype=torch.bfloat16)[None]


def exact(x):
    return x.double().requires_grad_()


cases = peers.Cases(sys.argv[1])
t, heads, d = 150, 2, 64
q, k, v = bf16(numbers(t, heads, d)), bf16(unit(numbers(t, heads, d))), bf16(numbers(t, heads, d))
beta = bf16(1 / (1 + np.exp(-numbers(t, heads))))
decay = torch.tensor(-np.exp(numbers(t, heads) - 3), dtype=torch.float32)[None]
channels = torch.tensor(-np.exp(numbers(t, heads, d) - 3), dtype=torch.float32)[None]
d_out = bf16(numbers(t, heads, d))
scale = d ** -0.5
MOST = 1e-2  # bf16: inputs of the products inside and results


def check(name, function, delta=False, known=(), backward=None, lengths=(t,), **named):
    """`backward`: the module and the name of the function that gives gradients, and which these are; the library turns
    them into other types after it. `lengths`: sequences that lie one behind the other, each with its state."""
    states = len(lengths), heads, d, d
    initial, d_state = (torch.tensor(numbers(*states), dtype=torch.float32) for _ in range(2))
    leaves = {"q": q, "k": k, "v": v, **named}
    exacts = {which: exact(x) for which, x in {**leaves, "initial": initial}.items()}
    leaves = {which: x.clone().requires_grad_(backward is not None) for which, x in leaves.items()}
    start = initial.clone().requires_grad_(backward is not None)
    options = {"g": leaves.pop("decay")} if "decay" in leaves else {}
    if len(lengths) > 1:
        options["cu_seqlens"] = torch.tensor(np.cumsum([0, *lengths]))
    with cases.case(name) as case:
        recorder.begin(case)
        case.know(*known)
        out, state = function(**leaves, **options, scale=scale, initial_state=start, output_final_state=True)
        sequences = {which: x[0].split(lengths) if which != "initial" else x for which, x in exacts.items()}
        ends = [recurrence(**dict(zip(sequences, one)), scale=scale, delta=delta) for one in zip(*sequences.values())]
        expected, last = (f(parts) for f, parts in zip((torch.cat, torch.stack), zip(*ends)))
        case.expect(recorder.argument(out), expected.detach().numpy(), MOST)
        case.expect(recorder.argument(state), last.detach().numpy(), MOST)
        if not backward:
            return
        module, differentiate, order = backward
        made = []
        library = getattr(module, differentiate)
        setattr(module, differentiate, lambda **inputs: made.append(library(**inputs)) or made[-1])
        torch.autograd.backward((out, state), (d_out, d_state))
        setattr(module, differentiate, library)
        torch.autograd.backward((expected, last), (d_out[0].double(), d_state.double()))
        for which, gradient in zip(order, made[0]):
            if which:
                case.expect(recorder.argument(gradient), exacts[which].grad.numpy(), MOST)


# The gradient of k is a sum that the host forms.
for name, lengths in ("gated_delta_rule", (t,)), ("gated_delta_rule_lengths", (70, 1, 64, 15)):
    check(name, chunk_gated_delta_rule, delta=True, beta=beta, decay=decay, known=[peers.SAME_VALUES], lengths=lengths,
          backward=(gated_delta_rule, "chunk_gated_delta_rule_bwd", ("q", None, "v", "beta", None, "initial")))
# Sums across lanes are contracted to an fma on one side only: lanes that hold the same sum differ in the last bit, and
# all of them store it to one address.
check("delta_rule", chunk_delta_rule, delta=True, beta=beta,
      known=[("shared-race", r"write different values to shared memory at \d+ in one instruction")],
      backward=(delta_rule, "chunk_delta_rule_bwd", ("q", None, "v", "beta", "initial")))
check("kda", chunk_kda, delta=True, beta=beta, decay=channels)
check("kda_lengths", chunk_kda, delta=True, beta=beta, decay=channels, lengths=(33, 117))
check("simple_gla", chunk_simple_gla, decay=decay)
