"""What is kept out of torch's compiler is, and costs nothing where nothing is compiled."""

import subprocess
import sys

import pytest

CODE = """
import torch
from SAMFinetuneLogic.models.uncompiled import uncompiled

compiling = []

@uncompiled
def doubled(x):
    compiling.append(torch.compiler.is_compiling())
    return 2 * x

class Last(torch.nn.Module):
    @uncompiled
    def forward(self, x):
        compiling.append(torch.compiler.is_compiling())
        return doubled(x).cummin(0).values

last = Last()
graphs = []

def whole(x):
    return last(doubled(x.sin())).cos()

def backend(module, _):
    graphs.append([node.target for node in module.graph.nodes if node.op == "call_method"])
    return module.forward

x = torch.randn(5)
plain = whole(x)
assert ("torch._dynamo" in sys.modules) == loaded_before
compiled = torch.compile(whole, backend=backend, dynamic=False)
assert torch.equal(compiled(x), plain) and torch.equal(compiled(x), plain)
assert graphs == [["sin"], ["cos"]], graphs
assert len(compiling) == 9 and not any(compiling)
"""


@pytest.mark.parametrize("loaded_before", [False, True])
def test_uncompiled_functions_are_left_out_of_graphs(loaded_before):
    start = f"import sys\nloaded_before = {loaded_before}\n" + ("import torch._dynamo\n" if loaded_before else "")
    done = subprocess.run([sys.executable, "-c", start + CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
