# Kernels of flash-linear-attention, which Triton compiles without a GPU, each from its inputs to its result: gated delta
# rule, delta rule, KDA, GLA, RWKV-7, HGRN; attention to chosen blocks of keys (NSA), with forgetting gates, and by
# breaking sticks. `python3 fla_kernels.py FOLDER`, see peers.py.
import sys

import peers

try:
    import numpy as np
    import torch
    import triton
    from triton_recorder import Recorder, pretend_h100

    pretend_h100(torch)
    recorder = Recorder(90)
    from fla.ops.delta_rule import chunk as delta_rule
    from fla.ops.delta_rule import chunk_delta_rule
    from fla.ops.gated_delta_rule import chunk as gated_delta_rule
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule
    from fla.ops.forgetting_attn import parallel_forgetting_attn
    from fla.ops.gla import chunk_gla
    from fla.ops.hgrn import chunk_hgrn
    from fla.ops.kda import chunk_kda
    from fla.ops.nsa import parallel as block_kernels
    from fla.ops.rwkv7 import chunk_rwkv7
    from fla.ops.simple_gla import chunk_simple_gla
    from fla.ops.stickbreaking_attn import parallel as stick_kernels
except ImportError as missing:
    peers.skip(f"flash-linear-attention is not installed ({missing}): pip install flash-linear-attention torch triton numpy")


def recurrence(q, k, v, scale, initial, beta=None, decay=None, delta=False, a=None, b=None):
    """Step by step. q, k: [t, heads, d]; v: [t, heads, dv]; initial: [heads, d, dv]; decay, of each step or of each step
    and channel, as logarithm. a, b, as k: what b adds is what a reads of the state. Gives the result [t, heads, dv] and
    the last state."""
    state, out = initial, []
    for i in range(len(q)):
        read = None if a is None else torch.einsum("hd,hdv->hv", a[i], state)
        if decay is not None:
            state = state * decay[i].exp().reshape(len(state), -1, 1)
        value = v[i] - torch.einsum("hd,hdv->hv", k[i], state) if delta else v[i]
        if beta is not None:
            value = beta[i][:, None] * value
        state = state + k[i][:, :, None] * value[:, None, :]
        if a is not None:
            state = state + b[i][:, :, None] * read[:, None, :]
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
        if backward:
            torch.autograd.backward((expected, last), (d_out[0].double(), d_state.double()))
            expect_gradients(case, backward, exacts, (out, state), (d_out, d_state))


def expect_gradients(case, backward, exacts, results, of_results):
    module, differentiate, order = backward
    made = []
    library = getattr(module, differentiate)
    setattr(module, differentiate, lambda *inputs, **named: made.append(library(*inputs, **named)) or made[-1])
    torch.autograd.backward(results, of_results)
    setattr(module, differentiate, library)
    for which, gradient in zip(order, made[0]):
        if which:
            case.expect(recorder.argument(gradient), exacts[which].grad.numpy(), MOST)


def check_attention(name, function, definition, backward=None, known=(), **inputs):
    """`definition`: of the same inputs without their first dimension, in double precision."""
    exacts = {which: exact(x) for which, x in inputs.items()}
    leaves = {which: x.clone().requires_grad_(backward is not None) for which, x in inputs.items()}
    with cases.case(name) as case:
        recorder.begin(case)
        case.know(*known)
        out = function(**leaves)
        expected = definition(**{which: x[0] for which, x in exacts.items()})
        case.expect(recorder.argument(out), expected.detach().numpy(), MOST)
        if backward:
            d_out = bf16(numbers(*expected.shape))
            expected.backward(d_out[0].double())
            expect_gradients(case, backward, exacts, (out,), (d_out,))


def scores(q, k):
    """[heads, i, j]: neighbouring heads of q share one of k, where it has less. Where a row sees a key."""
    shared = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    return torch.einsum("ihd,jhd->hij", q, shared) * q.shape[-1] ** -0.5, torch.ones(len(q), len(k)).tril().bool()


def weighted(p, v):
    return torch.einsum("hij,jhd->ihd", p, v.repeat_interleave(len(p) // v.shape[1], 1))


def forgetting(q, k, v, g):
    """A key's score falls by the gates (logarithms, [t, heads]) of all steps behind it."""
    s, sees = scores(q, k)
    gates = g.cumsum(0).T
    s = s + gates[:, :, None] - gates[:, None, :]
    return weighted(s.masked_fill(~sees, -torch.inf).softmax(-1), v)


def stick_breaking(q, k, v):
    """The nearest key takes its part of a stick, the next one of what is left; a row does not see its own key."""
    s, sees = scores(q, k)
    sees = sees.tril(-1)
    kept = torch.nn.functional.logsigmoid(-s).masked_fill(~sees, 0)
    behind = kept.flip(-1).cumsum(-1).flip(-1) - kept
    return weighted((torch.nn.functional.logsigmoid(s) + behind).exp().masked_fill(~sees, 0), v)


def chosen_blocks(indices, size):
    """indices: [t, heads of k, how many], the blocks of `size` keys that a row sees; -1: none."""
    def definition(q, k, v):
        s, sees = scores(q, k)
        block = torch.arange(len(k)) // size
        chosen = (indices[:, :, None, :] == block[None, None, :, None]).any(-1).permute(1, 0, 2)  # [heads, i, j]
        chosen = chosen.repeat_interleave(len(s) // len(chosen), 0)
        return weighted(s.masked_fill(~(sees & chosen), -torch.inf).softmax(-1), v)
    return definition


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
check("gla", chunk_gla, decay=channels)
# A part of the state is taken away along `a`, and put back along `b`.
direction = unit(numbers(t, heads, d))
rate = 1 / (1 + np.exp(-numbers(t, heads, d)))
check("rwkv7", lambda q, g, **named: chunk_rwkv7(r=q, w=g, **named), decay=channels, a=bf16(-direction),
      b=bf16(direction * rate), known=[peers.SAME_VALUES])

gates = torch.tensor(np.log(1 / (1 + np.exp(-numbers(t, heads) - 3))), dtype=torch.float32)[None]
check_attention("forgetting_attention", parallel_forgetting_attn, forgetting, q=q, k=k, v=v, g=gates)
check_attention("stick_breaking_attention", lambda **inputs: stick_kernels.parallel_stickbreaking_attn(**inputs)[0],
                stick_breaking, q=q, k=k, v=v, known=[peers.SAME_VALUES],
                backward=(stick_kernels, "parallel_stickbreaking_attn_bwd", ("q", "k", "v")))

# Each row sees its own block and some before it, those of two heads of k are others.
block, most = 32, 4
wide = bf16(numbers(t, 16 * heads, d))
chosen = np.full((t, heads, most), -1)
for i in range(t):
    for h in range(heads):
        before = random.permutation(i // block)[:random.integers(most)]
        chosen[i, h, :len(before) + 1] = [i // block, *before]
chosen = torch.tensor(chosen)


def rows_of_blocks(block_indices, num_blocks, **others):
    """What the library has two kernels do, with a sum by the host between them: the rows that see each block."""
    rows = [(block_indices[0, :, h] == b).any(-1).nonzero().flatten() for h in range(heads) for b in range(num_blocks)]
    return (torch.cat(rows).int(), torch.tensor(np.cumsum([0, *map(len, rows)])).int())


block_kernels.prepare_block_csr = rows_of_blocks
check_attention("chosen_blocks", lambda **inputs: block_kernels.parallel_nsa(
                    **inputs, block_indices=chosen[None], block_counts=most, block_size=block),
                chosen_blocks(chosen, block), q=wide, k=k, v=v, known=[peers.SAME_VALUES],
                backward=(block_kernels, "parallel_nsa_bwd", (None, None, "v"))) # the others are sums by the host

with cases.case("hgrn") as case:
    recorder.begin(case)
    x, first = (torch.tensor(numbers(*shape), dtype=torch.float32) for shape in ((1, t, d), (1, d)))
    expected, state = [], first[0].double()
    for i in range(t):
        state = channels[0, i, 0].double().exp() * state + x[0, i].double()
        expected.append(state)
    out, _ = chunk_hgrn(x, channels[:, :, 0].contiguous(), initial_state=first)
    case.expect(recorder.argument(out), torch.stack(expected).numpy(), 1e-5)
