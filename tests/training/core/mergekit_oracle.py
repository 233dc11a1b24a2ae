"""Writes mergekit_sce.json: what mergekit 0.1.5 makes of small tensors, for test_merge.py.

Run it where mergekit 0.1.5 is installed (it needs other versions than this project):
python mergekit_oracle.py > mergekit_sce.json
"""

from __future__ import annotations

import json
import sys

import torch
from mergekit.merge_methods.base import TensorGroup
from mergekit.merge_methods.sce import sce_merge


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    cases = []
    for shape, sources, topk in (
        ((5, 6), 2, 1.0),
        ((5, 6), 2, 0.3),
        ((4, 5), 3, 0.5),
        ((12,), 4, 0.9),
        ((4, 4), 2, 0.01),
    ):
        base = torch.randn(shape, generator=generator)
        # Sources of unequal reach, so that their weights differ; some elements on which two of them agree.
        experts = [base + 0.2 * (at + 1) * torch.randn(shape, generator=generator) for at in range(sources)]
        experts[1].view(-1)[:3] = experts[0].view(-1)[:3]
        group = TensorGroup.from_tensors([base, *experts], base_index=0)
        merged = sce_merge.merge_group(group, select_topk=topk, int8_mask=False)
        cases.append(
            {
                "topk": topk,
                "base": base.tolist(),
                "sources": [expert.tolist() for expert in experts],
                "merged": merged.tolist(),
            }
        )
    sys.stdout.write("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
