# peers.py - cases for run_cases.cpp: kernels of another compiler, what they are launched on, and what is to come out.
#
#   cases = Cases(sys.argv[1])
#   with cases.case("softmax") as case:
#       x = case.array("x", values)                # a NumPy array; type="bf16" where device memory has such elements
#       case.launch("softmax", ptx, entry, grid=..., block=..., shared=..., args=[x, case.i32(700)])
#       case.expect(x, expected, most=1e-6)        # |got - expected| / |expected|
import contextlib
import json
import pathlib
import sys

SKIPPED = 77
# Warps that hold copies of something all store it to one address, with no barrier between them.
SAME_VALUES = "shared-race", "; the values are the same$"


def skip(what):
    print(what)
    sys.exit(SKIPPED)


def rounded(values, type):
    """Numbers that bf16, f16 or a float of 8 bits can hold, as float32."""
    import numpy
    if type == "f16":
        return values.astype(numpy.float16).astype(numpy.float32)
    if type in ("f8e4m3", "f8e5m2"):  # of such that are not small: a few bits of the fraction
        unit = 2.0 ** (numpy.floor(numpy.log2(numpy.abs(values))) - (3 if type == "f8e4m3" else 2))
        return numpy.where(numpy.abs(values) < 0.0625, 0, numpy.round(values / unit) * unit).astype(numpy.float32)
    bits = values.astype(numpy.float32).view(numpy.uint32).astype(numpy.uint64)
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16
    return bits.astype(numpy.uint32).view(numpy.float32)


def visible(rows, columns, causal, window=None):
    """Which keys a row sees. The last row stands at the last key; window: how many a row sees before and behind its own."""
    import numpy
    distance = numpy.arange(columns) - (numpy.arange(rows)[:, None] + columns - rows)
    before, behind = window or (rows + columns, rows + columns)
    return (distance >= -before) & (distance <= (0 if causal else behind))


def attention(q, k, v, scale, causal, window=None):
    """In double precision: out[t, heads, d] and the logarithm of each row's sum, [heads, t]. Neighbouring heads of q share
    one of k and v, where those have less."""
    import numpy
    q, k, v = (x.astype(numpy.float64).repeat(q.shape[1] // x.shape[1], 1) for x in (q, k, v))
    s = numpy.einsum("ihd,jhd->hij", q, k) * scale
    s = numpy.where(visible(len(q), len(k), causal, window), s, -numpy.inf)
    largest = s.max(-1, keepdims=True)
    p = numpy.exp(s - largest)
    total = p.sum(-1, keepdims=True)
    return numpy.einsum("hij,jhd->ihd", p / total, v), (largest + numpy.log(total))[..., 0]


class Cases:
    """`filled`: for kernels that are only timed; what is in their large arrays is not kept (Case.array)."""

    def __init__(self, folder, filled=False):
        self.folder = pathlib.Path(folder)
        self.filled = filled

    @contextlib.contextmanager
    def case(self, name, target="sm_90a"):
        folder = self.folder / name
        folder.mkdir()
        case = Case(folder, target, self.filled)
        yield case
        case.write()


class Case:
    def __init__(self, folder, target, filled):
        self.folder = folder
        self.filled = filled
        self.target = target
        self.arrays = {}
        self.steps = []
        self.checks = []
        self.known = []

    def array(self, name, values, type=None):
        """An array in device memory that lives from launch to launch; gives the argument that is its address. A large one of
        a case that is only timed is filled when it is launched: with random numbers, or zero where `values` begins with 0 or
        NaN."""
        import numpy
        values = numpy.asarray(values)
        if self.filled and values.size > 1 << 17:
            random = values.flat[0] == values.flat[0] != 0
            type = type or {"float16": "f16", "float32": "f32", "float64": "f64"}.get(str(values.dtype), "u8")
            size = [values.size * values.itemsize] if type == "u8" else list(values.shape)
            self.arrays[name] = {"fill": "normal" if random else "zero", "type": type, "shape": size}
            if random:
                self.arrays[name]["seed"] = len(self.arrays)
            return {"array": name}
        numpy.save(self.folder / f"{name}.npy", numpy.ascontiguousarray(values))
        self.arrays[name] = {"inout": f"{name}.npy", **({"type": type} if type else {})}
        return {"array": name}

    def struct(self, name, members):
        """An array that holds what these arguments are, addresses of others among them."""
        self.arrays[name] = {"struct": members}
        return {"array": name}

    def launch(self, name, ptx, entry, args, grid, block, shared=0, cluster=None):
        step = f"{len(self.steps)}-{name}"
        text = json.dumps(args)
        used = {}
        while more := {name: array for name, array in self.arrays.items() if name not in used and f'"{name}"' in text}:
            used |= more
            text = json.dumps(list(more.values()))
        launch = {"entry": entry, "grid": list(grid), "block": list(block), "shared": shared, "arrays": used, "args": args}
        if cluster:
            launch["cluster"] = list(cluster)
        (self.folder / f"{step}.ptx").write_text(ptx)
        (self.folder / f"{step}.json").write_text(json.dumps(launch))
        self.steps.append(step)

    def expect(self, array, expected, most):
        import numpy
        name = array["array"]
        numpy.save(self.folder / f"{name}.expected.npy", numpy.ascontiguousarray(expected))
        self.checks.append({"got": f"{name}.npy", "expected": f"{name}.expected.npy", "most": most})

    def know(self, *findings):
        """Findings that are the kernel's own are told, and the case does not fail by them: pairs of a kind and of what the
        message says, as a regular expression."""
        self.known.extend(findings)

    def write(self):
        description = {"target": self.target, "steps": self.steps, "checks": self.checks, "known": self.known}
        (self.folder / "case.json").write_text(json.dumps(description))
