"""tilejit sim: PTX on files; exit codes; no file left behind where something was wrong.

usage: test_sim.py TILEJIT [unittest options]
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import npy

TILEJIT = os.path.abspath(sys.argv[1])

# o[i] = a * x[i], for i < n; %tid + `SHIFT` is the element that is stored
SCALE = """.version 8.0
.target sm_80
.address_size 64
.visible .entry scale(.param .u64 x, .param .u64 o, .param .u32 n, .param .f32 a)
{
.reg .pred %p<4>; .reg .b32 %r<9>; .reg .f32 %f<9>; .reg .b64 %rd<9>;
ld.param.u64 %rd1, [x]; ld.param.u64 %rd2, [o]; ld.param.u32 %r4, [n]; ld.param.f32 %f1, [a];
mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x; mad.lo.u32 %r1, %r1, %r2, %r3;
setp.ge.u32 %p1, %r1, %r4;
@%p1 ret;
mul.wide.u32 %rd3, %r1, 4; add.u64 %rd1, %rd1, %rd3; add.u64 %rd2, %rd2, %rd3;
ld.global.f32 %f2, [%rd1]; mul.f32 %f2, %f2, %f1;
st.global.f32 [%rd2+SHIFT], %f2;
ret;
}
"""


class Sim(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "k.ptx").write_text(SCALE.replace("SHIFT", "0"))
        (self.folder / "wild.ptx").write_text(SCALE.replace("SHIFT", "4"))
        self.values = [float(i) for i in range(100)]
        npy.write(self.folder / "x.npy", self.values, (100,))

    def sim(self, *words):
        return subprocess.run([TILEJIT, "sim", *map(str, words)], capture_output=True, text=True, cwd=self.folder, timeout=60)

    def arguments(self, x="in:x.npy", o="out:o.npy:f32:4x25", n=100, a=2):
        shape = ["--entry", "scale", "--grid", "2", "--block", "64,1,1"]
        return shape + [w for arg in (x, o, f"i32:{n}", f"f32:{a}") for w in ("--arg", arg)]

    def test_seeds(self):
        run = self.sim("k.ptx", *self.arguments(), "--seeds", "5")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertIn("the same bits with 5 seeds", run.stdout)
        self.assertEqual(self.sim("k.ptx", *self.arguments(), "--seed", "7").returncode, 0)
        # every block stores its number at the same place
        (self.folder / "race.ptx").write_text(
            """.version 8.0
.target sm_80
.address_size 64
.visible .entry race(.param .u64 o)
{
.reg .b32 %r<3>; .reg .b64 %rd<2>; .reg .pred %p<2>;
ld.param.u64 %rd1, [o]; mov.u32 %r1, %tid.x; shr.u32 %r2, %r1, 5;
st.global.u32 [%rd1], %r2;
ret;
}
"""
        )
        shape = ["--entry", "race", "--grid", "1", "--block", "128", "--arg", "out:o.npy:i32:1"]
        run = self.sim("race.ptx", *shape, "--seeds", "20")
        self.assertEqual(run.returncode, 3)
        self.assertRegex(run.stdout, r"depends on the order: with --seed \d+ it differs from byte 0 ")
        seed = re.search(r"--seed (\d+)", run.stdout).group(1)
        fixed = npy.read(self.folder / "o.npy")[0]
        self.assertEqual(self.sim("race.ptx", *shape, "--seed", seed).returncode, 0)
        self.assertNotEqual(npy.read(self.folder / "o.npy")[0], fixed)

    def test_good(self):
        run = self.sim("k.ptx", *self.arguments())
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertEqual(len(run.stdout.splitlines()), 1)
        self.assertRegex(run.stdout, r"scale.*2,1,1.*64,1,1.*simulator.* \d+ warp-instructions, 0 findings")
        self.assertEqual(npy.read(self.folder / "o.npy"), ([2 * x for x in self.values], (4, 25), "<f4"))

    def test_in_place(self):
        run = self.sim("k.ptx", *self.arguments(x="inout:x.npy", o="inout:x2.npy", n=50))
        self.assertEqual(run.returncode, 2)
        npy.write(self.folder / "x2.npy", [-1.0] * 100, (100,), "<f8")
        run = self.sim("k.ptx", *self.arguments(x="inout:x.npy", o="inout:x2.npy:f32", n=50))
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        expected = [2 * x if x < 50 else -1.0 for x in self.values]
        self.assertEqual(npy.read(self.folder / "x2.npy"), (expected, (100,), "<f8"))

    def test_findings(self):
        run = self.sim("wild.ptx", *self.arguments(), "--findings", "f.json")
        self.assertEqual(run.returncode, 3)
        self.assertFalse((self.folder / "o.npy").exists())
        self.assertRegex(run.stdout, r"1 finding\b")
        (finding,) = json.loads((self.folder / "f.json").read_text())
        line = SCALE.splitlines().index("st.global.f32 [%rd2+SHIFT], %f2;") + 1
        self.assertEqual(finding["kind"], "out-of-bounds")
        self.assertEqual(finding["ptx_line"], line)
        self.assertEqual((finding["block"], finding["thread"]), ([1, 0, 0], [35, 0, 0]))
        for member in ("other_ptx_line", "source", "other_source"):
            self.assertIsNone(finding[member])
        run = self.sim("k.ptx", *self.arguments(), "--findings", "f.json", "--sanitize")
        self.assertEqual((run.returncode, json.loads((self.folder / "f.json").read_text())), (0, []))

    def test_counters(self):
        run = self.sim("k.ptx", *self.arguments(), "--counters", "json")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        *text, last = run.stdout.splitlines()
        counters = json.loads("\n".join(text))
        lines = SCALE.splitlines()
        load = next(i for i in counters["instructions"] if i["opcode"].startswith("ld.global"))
        self.assertEqual(lines[load["ptx_line"] - 1].split(" ")[0], "ld.global.f32")
        # 100 of 128 threads: the last warp has 4.
        self.assertEqual(load["global"], dict(requests=4, bytes=400, sectors=13, least_sectors=13, extra_sectors=0))
        self.assertEqual(counters["global"]["bytes"], 800)
        self.assertEqual((counters["branches"], counters["divergent_branches"]), (4, 1))
        self.assertEqual(counters["warp_instructions"], int(re.search(r"(\d+) warp-instructions", last)[1]))
        run = self.sim("k.ptx", *self.arguments(), "--counters", "table", "--annotate")
        self.assertRegex(run.stdout, r"sectors +26 ")
        self.assertRegex(run.stdout, r" 4 +\d+ +ld.global.f32 .*400 bytes global in 13 sectors")

    def test_bad_input(self):
        (self.folder / "bad.ptx").write_text(SCALE.replace("SHIFT", "0").replace("mul.f32", "mull.f32"))
        npy.write(self.folder / "i.npy", [1, -2], (2,), "<i4")
        (self.folder / "cut.npy").write_bytes((self.folder / "x.npy").read_bytes()[:-3])
        launch = {"entry": "scale", "block": [32], "arrays": {"x": {"in": "x.npy"}, "o": {"out": "o.npy", "type": "f32", "shape": [100]}}}
        arguments = [{"array": "x"}, {"array": "o"}, {"i32": 32}, {"f32": 2}]
        a_map = {"tensormap": {"array": "x", "dims": [100], "box": [4]}}
        for name, first in ("y", {"array": "y"}), ("map", a_map):
            (self.folder / f"{name}.json").write_text(json.dumps({**launch, "args": [first, *arguments[1:]]}))
        before = sorted(self.folder.iterdir())
        good = self.arguments()
        for message, words in [
            ("none.ptx", ["none.ptx", *good]),
            ("mull", ["bad.ptx", *good]),
            ("no entry 'scal'; it has 'scale'", ["k.ptx", *["scal" if w == "scale" else w for w in good]]),
            ("--entry", ["k.ptx", "--grid", "1"]),
            ("none.npy", ["k.ptx", *self.arguments(x="in:none.npy")]),
            ("f33", ["k.ptx", *self.arguments(x="in:x.npy:f33")]),
            ("no value of type u32", ["k.ptx", *self.arguments(x="in:i.npy:u32")]),
            ("shape", ["k.ptx", *self.arguments(o="out:o.npy:f32:4y5")]),
            ("nowhere", ["k.ptx", *self.arguments(o="out:nowhere/o.npy:f32:4")]),
            ("4 bytes", ["k.ptx", *self.arguments(n="3")[:-4], "--arg", "i64:3", "--arg", "f32:2"]),
            ("4 parameters", ["k.ptx", *good[:-2]]),
            ("threads", ["k.ptx", *["2048" if w == "64,1,1" else w for w in good]]),
            ("shared memory", ["k.ptx", *good, "--shared", "300000"]),
            ("--launch", ["k.ptx", *good, "--launch", "l.json"]),
            ("l.json", ["k.ptx", "--launch", "l.json"]),
            ("--seed", ["k.ptx", *good, "--seed", "x"]),
            ("truncated", ["k.ptx", *self.arguments(x="in:cut.npy")]),
            ("not a .npy file", ["k.ptx", *self.arguments(x="in:k.ptx")]),
            ("multiple of the cluster", ["k.ptx", *good, "--cluster", "3"]),
            ("sm_70", ["k.ptx", *good, "--gpu", "sm_70"]),
            ("nowhere", ["k.ptx", *good, "--findings", "nowhere/f.json"]),
            ("no array 'y'", ["k.ptx", "--launch", "y.json"]),
            ("128", ["k.ptx", "--launch", "map.json"]),
            ("two arrays", ["k.ptx", *self.arguments(x="inout:x.npy", o="inout:x.npy")]),
        ]:
            with self.subTest(words=words):
                run = self.sim(*words)
                self.assertEqual(run.returncode, 2, run.stdout + run.stderr)
                self.assertRegex(run.stderr, r"\Atilejit: [^\n]*\n\Z")
                self.assertIn(message, run.stderr)
                self.assertEqual(sorted(self.folder.iterdir()), before)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:])
