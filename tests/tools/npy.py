"""Arrays in .npy files and the definition of attention, with nothing but Python: what test_cli.py needs of NumPy."""

import ast
import math
import random
import struct

FORMATS = {"<f4": "f", "<f2": "e", "<i4": "i", "<i8": "q", "<f8": "d"}


def write(path, values, shape, descr="<f4", fortran_order=False):
    header = repr({"descr": descr, "fortran_order": fortran_order, "shape": tuple(shape)})
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode())
        file.write(struct.pack(f"<{len(values)}{FORMATS[descr]}", *values))


def read(path):
    """Values in C order, shape, element type."""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == b"\x93NUMPY\1\0", data[:8]
    (length,) = struct.unpack("<H", data[8:10])
    header = ast.literal_eval(data[10 : 10 + length].decode())
    assert not header["fortran_order"]
    values = [value for (value,) in struct.iter_unpack("<" + FORMATS[header["descr"]], data[10 + length :])]
    assert len(values) == math.prod(header["shape"])
    return values, header["shape"], header["descr"]


def normal(shape, seed):
    """Standard normal values on a grid of 1/64, which bf16, f16 and f32 all hold exactly."""
    generator = random.Random(seed)
    clip = lambda x: max(-3.0, min(3.0, x))
    return [round(clip(generator.gauss(0, 1)) * 64) / 64 for _ in range(math.prod(shape))]


def attention(q, k, v, q_shape, k_shape, v_shape, causal=False, scale=None):
    """o [B,Tq,HQ,DV] and lse [B,HQ,Tq] by the definition; a row that sees nothing is 0 and -inf."""
    batch, queries, heads, width = q_shape
    _, keys, kv_heads, _ = k_shape
    value_width = v_shape[3]
    scale = width**-0.5 if scale is None else scale
    o = [0.0] * (batch * queries * heads * value_width)
    lse = [-math.inf] * (batch * heads * queries)
    for b in range(batch):
        for i in range(queries):
            for h in range(heads):
                row = ((b * queries + i) * heads + h) * width
                seen = min(keys, i + keys - queries + 1) if causal else keys
                if seen <= 0:
                    continue
                places = [(b * keys + j) * kv_heads + h // (heads // kv_heads) for j in range(seen)]
                scores = [scale * sum(q[row + d] * k[place * width + d] for d in range(width)) for place in places]
                highest = max(scores)
                weights = [math.exp(score - highest) for score in scores]
                total = sum(weights)
                lse[(b * heads + h) * queries + i] = highest + math.log(total)
                for d in range(value_width):
                    mean = sum(w * v[place * value_width + d] for w, place in zip(weights, places)) / total
                    o[((b * queries + i) * heads + h) * value_width + d] = mean
    return o, lse


def norm_wise_error(got, expected):
    difference = math.sqrt(sum((g - e) ** 2 for g, e in zip(got, expected, strict=True)))
    return difference / math.sqrt(sum(e * e for e in expected))
