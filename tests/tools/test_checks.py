"""The checks of this folder find what they are there to find."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent


class Checks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.write("runtime/a.h", '#include "runtime/b.h"\n#include <vector>\n')

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run_check(self, name, *arguments):
        command = [sys.executable, "-B", str(HERE / name), str(self.root), *arguments]
        run = subprocess.run(command, capture_output=True, text=True)
        return run.returncode, run.stdout

    def test_layers(self):
        allowed = {
            "compiler/compile.h": "runtime/compiled_kernel.h",
            "compiler/passes/p.cpp": "mlir/Pass/Pass.h",
            "dsl/t.h": "runtime/device.h",
            "lib/attention/a.cpp": "dsl/dsl.h",
            "tools/t.cpp": "lib/attention/registry.h",
        }
        for name, target in allowed.items():
            self.write(name, f'#include "{target}"\n')
        self.assertEqual(self.run_check("check_layers.py")[0], 0)
        forbidden = {
            "runtime/x.cpp": "compiler/compile.h",
            "runtime/simulator/x.cpp": "llvm/ADT/StringRef.h",
            "compiler/x.cpp": "runtime/device.h",
            "compiler/layout/x.cpp": "mlir/IR/Builders.h",
            "compiler/dialect/x.cpp": "compiler/passes/pass.h",
            "dsl/x.cpp": "lib/attention/registry.h",
            "lib/attention/x.cpp": "runtime/tensor.h",
            "lib/x.h": "../runtime/tensor.h",
        }
        for name, target in forbidden.items():
            with self.subTest(name):
                self.write(name, f'\n  #  include <{target}>\n')
                code, output = self.run_check("check_layers.py")
                self.assertEqual(code, 1)
                self.assertIn(f"{name}:2:", output)
                (self.root / name).unlink()

    def test_sizes(self):
        self.write("dsl/long.cpp", "\n" * 1201)
        code, output = self.run_check("check_sizes.py")
        self.assertEqual(code, 1)
        self.assertIn("dsl/long.cpp: 1201 lines", output)
        self.assertEqual(self.run_check("check_sizes.py", "--most-lines", "1201")[0], 0)

    def test_style(self):
        self.write(".clang-format", "BasedOnStyle: LLVM\n")
        if self.run_check("check_style.py")[0] == 77:
            self.skipTest("clang-format 22 is not installed")
        self.assertEqual(self.run_check("check_style.py")[0], 0)
        self.write("runtime/ugly.h", "int  x ;\n")
        code, output = self.run_check("check_style.py")
        self.assertEqual(code, 1)
        self.assertIn("runtime/ugly.h", output)
        self.assertEqual(self.run_check("check_style.py", "--fix")[0], 0)
        self.assertEqual(self.run_check("check_style.py")[0], 0)

    def test_binary(self):
        def check(*options):
            command = [sys.executable, "-B", str(HERE / "check_binary.py"), "/bin/true", *options]
            return subprocess.run(command, capture_output=True, text=True)

        self.assertEqual(check("--most-bytes", "1000000", "--needs", "libc").returncode, 0)
        too_large = check("--most-bytes", "1000", "--needs", "libc")
        self.assertEqual(too_large.returncode, 1)
        self.assertIn("larger than it may be", too_large.stdout)
        foreign = check("--most-bytes", "1000000", "--needs", "libm")
        self.assertEqual(foreign.returncode, 1)
        self.assertIn("must not need libc.so", foreign.stdout)

    def test_nothing_to_check_is_a_failure(self):
        (self.root / "runtime/a.h").unlink()
        for name in ("check_layers.py", "check_sizes.py"):
            self.assertEqual(self.run_check(name)[0], 1, name)


if __name__ == "__main__":
    unittest.main()
