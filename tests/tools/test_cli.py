"""The tilejit command line, used as a person would: right, and wrong in every way that we could think of.

usage: test_cli.py TILEJIT FAKE_LIBCUDA [unittest options]
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import npy

TILEJIT, FAKE_LIBCUDA = map(os.path.abspath, sys.argv[1:3])
NO_DRIVER = {"TILEJIT_LIBCUDA": "libcuda-that-is-not-there.so.1"}


class Cli(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_tilejit(self, *words, environment={}, **options):
        variables = {**os.environ, **NO_DRIVER, **environment}
        return subprocess.run(
            [TILEJIT, *map(str, words)], capture_output=True, text=True, cwd=self.folder, env=variables, timeout=300, **options
        )

    def good(self, *words, **options):
        run = self.run_tilejit(*words, **options)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(run.stderr, "")
        return run.stdout

    def bad(self, message, *words, **options):
        """One line on standard error that has `message` in it, exit code 2, and no file that was not there before."""
        before = sorted(self.folder.iterdir())
        run = self.run_tilejit(*words, **options)
        self.assertEqual(run.returncode, 2, f"{words}: {run.stdout}{run.stderr}")
        self.assertRegex(run.stderr, r"\Atilejit: [^\n]*\n\Z", words)
        self.assertIn(message, run.stderr)
        self.assertEqual(sorted(self.folder.iterdir()), before, words)

    def inputs(self, q_shape=(1, 9, 4, 16), k_shape=(1, 13, 2, 16), v_shape=(1, 13, 2, 32), descr="<f4"):
        """q.npy, k.npy and v.npy, and their values."""
        self.shapes = (q_shape, k_shape, v_shape)
        self.values = [npy.normal(shape, seed) for seed, shape in enumerate(self.shapes)]
        for name, shape, values in zip("qkv", self.shapes, self.values):
            npy.write(self.folder / f"{name}.npy", values, shape, descr)
        return ["--in", "q=q.npy", "--in", "k=k.npy", "--in", "v=v.npy"]


class General(Cli):
    def test_help_and_version(self):
        text = self.good("--help")
        for command in ("list", "run", "inspect", "devices", "opt"):
            self.assertIn(command, text)
            if command != "opt":
                self.assertIn("Usage", self.good(command, "--help"))
        self.assertRegex(self.good("--version"), r"^\d+\.\d+\.\d+\n$")

    def test_wrong_words(self):
        self.bad("subcommand")
        self.bad("frobnicate", "frobnicate")
        self.bad("--nonsense", "devices", "--nonsense")
        self.bad("required", "run")
        self.bad("required", "inspect")

    def test_list(self):
        text = self.good("list")
        self.assertIn("attention", text)
        for name in ("q", "k", "v", "o", "lse", "scale", "causal"):
            self.assertRegex(text, rf"\b{name}\b")

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            run = subprocess.run([TILEJIT, "list"], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(run.returncode, 1)
        self.assertIn("cannot write", run.stderr)


class Devices(Cli):
    def test_without_a_driver(self):
        text = self.good("devices")
        self.assertIn("cuda: none: libcuda-that-is-not-there.so.1 not found", text)
        self.assertIn("simulator", text)

    def test_with_gpus(self):
        fake = {"TILEJIT_LIBCUDA": FAKE_LIBCUDA, "TILEJIT_FAKE_GPUS": "Big:9.0,Small:8.9,Old:7.0"}
        lines = self.good("devices", environment=fake).splitlines()
        self.assertRegex(lines[0], r"^cuda:0: Big, compute capability 9\.0, kernels compiled for sm_90a")
        self.assertRegex(lines[1], r"^cuda:1: Small, .*sm_80")
        self.assertRegex(lines[2], r"^cuda:2: Old, .*too old")
        self.assertIn("simulator", lines[3])

    def test_driver_without_gpus(self):
        fake = {"TILEJIT_LIBCUDA": FAKE_LIBCUDA, "TILEJIT_FAKE_FAIL": "cuInit=100"}
        self.assertIn("it finds no GPU", self.good("devices", environment=fake))


class Run(Cli):
    def check(self, o, lse=None, bound=4e-3, **options):
        expected_o, expected_lse = npy.attention(*self.values, *self.shapes, **options)
        values, shape, descr = npy.read(self.folder / o)
        self.assertEqual(shape, (*self.shapes[0][:3], self.shapes[2][3]))
        self.assertLess(npy.norm_wise_error(values, expected_o), bound)
        if lse:
            got, shape, lse_descr = npy.read(self.folder / lse)
            self.assertEqual(lse_descr, "<f4")
            self.assertEqual(shape, (self.shapes[0][0], self.shapes[0][2], self.shapes[0][1]))
            for g, e in zip(got, expected_lse, strict=True):
                self.assertTrue(g == e or abs(g - e) < 1e-2, (g, e))
        return descr

    def test_attention_in_each_type(self):
        words = self.inputs()
        for dtype, descr, bound in (("bf16", "<f4", 4e-3), ("f16", "<f2", 1e-3), ("f32", "<f4", 1e-3)):
            with self.subTest(dtype):
                self.good("run", "attention", *words, "--out", "o=o.npy", "--out", "lse=lse.npy", "--dtype", dtype)
                self.assertEqual(self.check("o.npy", "lse.npy", bound), descr)

    def test_parameters(self):
        words = self.inputs()
        self.good("run", "attention", *words, "--out", "o=o.npy", "--set", "causal=true", "--set", "scale=0.5")
        self.check("o.npy", causal=True, scale=0.5)

    def test_half_precision_files_and_more_rows_than_keys(self):
        words = self.inputs((2, 5, 2, 16), (2, 3, 2, 16), (2, 3, 2, 16), descr="<f2")
        self.good("run", "attention", *words, "--out", "o=o.npy", "--out", "lse=lse.npy", "--set", "causal=true")
        self.check("o.npy", "lse.npy", causal=True)

    def test_targets(self):
        words = self.inputs()
        for target in ("sm_80", "sm_90a"):
            self.good("run", "attention", *words, "--out", f"o={target}.npy", "--device", f"simulator:{target}")
            self.check(f"{target}.npy")

    def test_sanitizers(self):
        words = self.inputs()
        self.good("run", "attention", *words, "--out", "o=o.npy", "--device", "simulator", "--sanitize", "--findings", "f.json")
        self.assertEqual((self.folder / "f.json").read_text(), "[]\n")
        self.check("o.npy")
        self.bad("nowhere", "run", "attention", *words, "--out", "o=o.npy", "--device", "simulator", "--findings", "nowhere/f.json")

    def test_exact_products(self):
        words = self.inputs((1, 40, 2, 64), (1, 40, 2, 64), (1, 40, 2, 64))
        out = ("--out", "o=o.npy", "--out", "lse=lse.npy")
        self.good("run", "attention", *words, *out, "--device", "simulator", "--exact-products")
        self.check("o.npy", "lse.npy")

    def test_only_what_is_asked_for_is_written(self):
        words = self.inputs()
        before = set(self.folder.iterdir())
        self.good("run", "attention", *words, "--out", "lse=only.npy")
        self.assertEqual(set(self.folder.iterdir()) - before, {self.folder / "only.npy"})

    def test_an_old_output_is_replaced(self):
        words = self.inputs()
        (self.folder / "o.npy").write_text("old")
        self.good("run", "attention", *words, "--out", "o=o.npy")
        self.check("o.npy")

    def test_wrong_names(self):
        words = self.inputs()
        out = ["--out", "o=o.npy"]
        self.bad("no kernel 'atention' (did you mean 'attention'?)", "run", "atention", *words, *out)
        self.bad("no input 'x'", "run", "attention", *words, "--in", "x=q.npy", *out)
        self.bad("no output 'out'", "run", "attention", *words, "--out", "out=o.npy")
        self.bad("no parameter 'casual' (did you mean 'causal'?)", "run", "attention", *words, *out, "--set", "casual=1")
        self.bad("twice", "run", "attention", *words, "--in", "q=k.npy", *out)
        self.bad("'k'", "run", "attention", *words[:2], *words[4:], *out)
        self.bad("--out", "run", "attention", *words)
        self.bad("NAME=VALUE", "run", "attention", "--in", "q.npy", *out)

    def test_wrong_values(self):
        words = self.inputs()
        out = ["--out", "o=o.npy"]
        self.bad("causal", "run", "attention", *words, *out, "--set", "causal=perhaps")
        self.bad("scale", "run", "attention", *words, *out, "--set", "scale=big")
        self.bad("scale", "run", "attention", *words, *out, "--set", "scale=nan")
        self.bad("bf16, f16 or f32", "run", "attention", *words, *out, "--dtype", "fp8")
        self.bad("'simulatr'", "run", "attention", *words, *out, "--device", "simulatr")
        self.bad("sm_12", "run", "attention", *words, *out, "--device", "simulator:sm_12")
        self.bad("not found", "run", "attention", *words, *out, "--device", "cuda")
        self.bad("cuda:x", "run", "attention", *words, *out, "--device", "cuda:x")

    def test_files_that_cannot_be_read(self):
        words = self.inputs()
        out = ["--out", "o=o.npy"]

        def with_q(message, path="q.npy"):
            self.bad(message, "run", "attention", "--in", f"q={path}", *words[2:], *out)

        with_q("none.npy: No such file", "none.npy")
        with_q("Is a directory", ".")
        whole = (self.folder / "q.npy").read_bytes()
        (self.folder / "q.npy").write_bytes(whole[:-1])
        with_q("truncated")
        (self.folder / "q.npy").write_bytes(whole[:20])
        with_q("truncated")
        (self.folder / "q.npy").write_bytes(whole + b"\0")
        with_q("longer")
        (self.folder / "q.npy").write_text("hello")
        with_q("not a .npy file")
        npy.write(self.folder / "q.npy", self.values[0], self.shapes[0], "<f8")
        with_q("element type '<f8'")
        npy.write(self.folder / "q.npy", self.values[0], self.shapes[0], fortran_order=True)
        with_q("Fortran order")
        npy.write(self.folder / "q.npy", [int(x) for x in self.values[0]], self.shapes[0], "<i4")
        with_q("int32")

    def test_shapes_that_do_not_fit(self):
        out = ["--out", "o=o.npy"]

        def with_shapes(message, *shapes):
            self.bad(message, "run", "attention", *self.inputs(*shapes), *out)

        with_shapes("q", (1, 9, 16), (1, 13, 2, 16), (1, 13, 2, 16))  # a dim is missing
        with_shapes("k", (1, 9, 4, 16), (1, 13, 2, 32), (1, 13, 2, 16))  # another head width
        with_shapes("v", (1, 9, 4, 16), (1, 13, 2, 16), (1, 12, 2, 16))  # another number of keys
        with_shapes("", (2, 9, 4, 16), (1, 13, 2, 16), (1, 13, 2, 16))  # another batch
        with_shapes("3", (1, 9, 4, 16), (1, 13, 3, 16), (1, 13, 3, 16))  # 4 heads, 3 key heads
        with_shapes("16", (1, 9, 4, 20), (1, 13, 2, 20), (1, 13, 2, 16))  # no multiple of 16
        with_shapes("256", (1, 9, 4, 512), (1, 13, 2, 512), (1, 13, 2, 16))  # too wide

    def test_outputs_that_cannot_be_written(self):
        words = self.inputs()
        self.bad("there is no folder", "run", "attention", *words, "--out", "o=no/such/o.npy")
        self.bad("it is a folder", "run", "attention", *words, "--out", "o=.")
        self.bad("o.npy", "run", "attention", *words, "--out", "o=o.npy", "--out", "lse=o.npy")
        self.bad("q.npy", "run", "attention", *words, "--out", "o=q.npy")

    def test_a_failing_device_is_not_the_users_mistake(self):
        words = self.inputs()
        fake = {"TILEJIT_LIBCUDA": FAKE_LIBCUDA, "TILEJIT_FAKE_FAIL": "cuLaunchKernelEx=700"}
        before = sorted(self.folder.iterdir())
        run = self.run_tilejit("run", "attention", *words, "--out", "o=o.npy", "--device", "cuda", environment=fake)
        self.assertEqual(run.returncode, 1, run.stderr)
        self.assertIn("CUDA_ERROR_ILLEGAL_ADDRESS", run.stderr)
        self.assertEqual(sorted(self.folder.iterdir()), before)


class Inspect(Cli):
    SHAPES = ["--shape", "q=1,256,8,64", "--shape", "k=1,256,2,64", "--shape", "v=1,256,2,64"]

    def test_every_level(self):
        marks = {
            "tile": "tile.dot",
            "placed": "tile.",
            "llvm-dialect": "llvm.func",
            "llvm": "define",
            "ptx": ".visible .entry",
        }
        for level, mark in marks.items():
            with self.subTest(level):
                self.assertIn(mark, self.good("inspect", "attention", *self.SHAPES, "--emit", level))

    def test_targets_and_types(self):
        for target in ("sm_80", "sm_90a"):
            text = self.good("inspect", "attention", *self.SHAPES, "--gpu", target, "--emit", "ptx")
            self.assertRegex(text, rf"\.target {target}\b")
        self.assertIn("f16", self.good("inspect", "attention", *self.SHAPES, "--dtype", "f16", "--emit", "tile"))
        text = self.good("inspect", "attention", *self.SHAPES, "--set", "causal=true", "--emit", "tile")
        self.assertNotEqual(text, self.good("inspect", "attention", *self.SHAPES, "--emit", "tile"))

    def test_without_shapes_and_to_a_file(self):
        self.assertEqual(self.good("inspect", "attention", "--emit", "ptx", "-o", "out.ptx"), "")
        self.assertIn(".visible .entry", (self.folder / "out.ptx").read_text())

    def test_a_tile_program_from_a_file(self):
        self.good("inspect", "attention", *self.SHAPES, "--emit", "tile", "-o", "a.mlir")
        from_kernel = self.good("inspect", "attention", *self.SHAPES, "--emit", "ptx")
        from_file = self.good("inspect", "a.mlir", "--emit", "ptx")
        code = lambda ptx: re.findall(r"^\t+(?!\.|//)(\S+)", ptx, re.M)
        self.assertEqual(code(from_kernel), code(from_file))
        self.assertGreater(len(code(from_file)), 100)

    def test_stats(self):
        text = self.good("inspect", "attention", *self.SHAPES, "--stats")
        for word in ("PTX instructions", "shared memory", "registers", "total", "matrix", "ms"):
            self.assertIn(word, text)

    def test_sass_or_why_not(self):
        run = self.run_tilejit("inspect", "attention", *self.SHAPES, "--emit", "sass")
        if run.returncode == 0:
            self.assertIn("EXIT", run.stdout)
        else:
            self.assertEqual(run.returncode, 2)
            self.assertRegex(run.stderr, r"\Atilejit: .*(ptxas|nvdisasm)")

    def test_wrong_input(self):
        self.bad("no kernel 'atention'", "inspect", "atention")
        self.bad("sm_12", "inspect", "attention", "--gpu", "sm_12")
        self.bad("--emit", "inspect", "attention", "--emit", "cuda")
        self.bad("none.mlir", "inspect", "none.mlir")
        self.bad("no input 'x'", "inspect", "attention", "--shape", "x=1,2")
        self.bad("not a size", "inspect", "attention", "--shape", "q=1,-2")
        self.bad("16", "inspect", "attention", "--shape", "q=1,9,4,20", "--shape", "k=1,9,4,20", "--shape", "v=1,9,4,16")
        self.bad("there is no folder", "inspect", "attention", "-o", "no/such/file")
        (self.folder / "broken.mlir").write_text("this is not a program\n")
        self.bad("broken.mlir:1", "inspect", "broken.mlir")
        (self.folder / "empty.mlir").write_text("")
        self.bad("empty.mlir", "inspect", "empty.mlir")


class Opt(Cli):
    def test_a_pass_on_a_file(self):
        self.good("inspect", "attention", *Inspect.SHAPES, "--emit", "tile", "-o", "a.mlir")
        same = self.good("opt", "a.mlir")
        self.assertIn("tile.dot", same)
        self.assertIn("tile.dot", self.good("opt", "--cse", "a.mlir"))
        self.assertIn("OPTIONS", self.good("opt", "--help"))

    def test_wrong_input(self):
        self.assertNotEqual(self.run_tilejit("opt", "none.mlir").returncode, 0)
        self.assertNotEqual(self.run_tilejit("opt", "--no-such-pass", "none.mlir").returncode, 0)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
