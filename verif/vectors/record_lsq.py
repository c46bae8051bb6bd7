"""Record what PyTorch's learnable fake quantiser computes, as vectors for the golden model.

``python verif/vectors/record_lsq.py`` in an environment with PyTorch writes ``lsq_pytorch.json``
beside this file. Inputs are chosen so that float32 holds ``x / step`` exactly: what is recorded is
PyTorch's rule, not its roundoff.
"""

import json
from datetime import date
from pathlib import Path

VECTORS = Path(__file__).with_name("lsq_pytorch.json")

# Least code, greatest code.
FORMATS = {"int4": (-8, 7), "uint4": (0, 15), "int8": (-128, 127)}
# Powers of two have exact reciprocals; float32 takes the reciprocals of the others' rounded
# reciprocals back to themselves.
RECIPROCALS = [1.0, 4.0, 0.03125, 3.0, 10.0]


def inputs(least: int, greatest: int, reciprocal: float) -> list[float]:
    """Choose inputs inside, outside and at the limits, half a step past them, and beside those."""
    eighths = set(range(-16, 17))
    for limit in (least, greatest):
        eighths |= {8 * limit + i for i in range(-12, 13)}
    quotients = [i / 8 for i in sorted(eighths)]
    for limit in (least - 0.5, least, greatest, greatest + 0.5):
        quotients += [limit - 1 / 64, limit + 1 / 64]
    quotients += [4.0 * least - 3, 4.0 * greatest + 3]
    # A multiple of 1/64: times the reciprocal it has few bits.
    exact = reciprocal in (3.0, 10.0)
    return [round(q / reciprocal * 64) / 64 if exact else q / reciprocal for q in quotients]


def compute(x: list[float], reciprocal: float, least: int, greatest: int) -> dict:
    """Run PyTorch on every input: dequantised number, gradients by the input and by the step."""
    import torch

    step = torch.tensor([1.0 / reciprocal])
    columns = {"forward": [], "dx": [], "dstep": []}
    for number in x:
        v = torch.tensor([number], requires_grad=True)
        s = step.clone().requires_grad_()
        zero_point = torch.zeros(1, requires_grad=True)
        y = torch._fake_quantize_learnable_per_tensor_affine(v, s, zero_point, least, greatest, 1.0)
        y.backward()
        columns["forward"].append(y.item())
        columns["dx"].append(v.grad.item())
        columns["dstep"].append(s.grad.item())
    return {"step": step.item(), "reciprocal": (1.0 / step).item(), "x": x, **columns}


def main() -> None:
    """Write the file."""
    import torch

    cases = []
    for name, (least, greatest) in FORMATS.items():
        for reciprocal in RECIPROCALS:
            x = inputs(least, greatest, reciprocal)
            case = compute(x, reciprocal, least, greatest)
            assert case["reciprocal"] == reciprocal, f"{reciprocal} has no float32 reciprocal"
            cases.append({"format": name, **case})
    header = {
        "source": "torch._fake_quantize_learnable_per_tensor_affine, forward and backward, CPU",
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "command": "python verif/vectors/record_lsq.py",
    }
    # One line per column, so that a change can be read.
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in header.items()]
    blocks = [
        "    {\n"
        + ",\n".join(f"      {json.dumps(key)}: {json.dumps(value)}" for key, value in case.items())
        + "\n    }"
        for case in cases
    ]
    VECTORS.write_text(
        "{\n" + "\n".join(lines) + '\n  "cases": [\n' + ",\n".join(blocks) + "\n  ]\n}\n"
    )


if __name__ == "__main__":
    main()
