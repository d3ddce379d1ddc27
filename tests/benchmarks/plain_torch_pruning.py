"""A job: a PyTorch network pruned by Torch-Pruning to a share of its multiplications, written as ONNX.

Request: `{"model": "module:function", "output": "x.onnx", "macs": 0.5, "importance": "l1" | "l2" | "taylor",
"global": bool, "calibration": "x.npz", "labels": "y.npy", "norms": bool}`. `taylor` takes the gradients of the loss on
labelled calibration samples; `norms` estimates the batch norms anew on the samples, the one repair that is usual
without training.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

STEPS, BATCH, GRADIENTS = 60, 100, 400


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Prune in small steps until the budget is kept to."""
    import torch
    import torch_pruning as tp

    module, _, factory = request["model"].partition(":")
    net, example = getattr(importlib.import_module(module), factory)()
    net.eval()
    with np.load(request["calibration"], allow_pickle=False) as stored:
        samples = torch.tensor(stored[stored.files[0]])
    labels = torch.tensor(np.load(request["labels"], allow_pickle=False))
    kinds = {
        "l1": lambda: tp.importance.MagnitudeImportance(p=1),
        "l2": lambda: tp.importance.MagnitudeImportance(p=2),
        "taylor": tp.importance.TaylorImportance,
    }
    last = [one for one in net.modules() if isinstance(one, torch.nn.Linear)][-1]
    pruner = tp.pruner.MetaPruner(
        net,
        example,
        importance=kinds[request["importance"]](),
        pruning_ratio=0.95,
        max_pruning_ratio=0.95,
        iterative_steps=STEPS,
        global_pruning=request["global"],
        ignored_layers=[last],
    )
    whole, _ = tp.utils.count_ops_and_params(net, example)
    for _ in range(STEPS):
        if request["importance"] == "taylor":
            net.zero_grad()
            for begin in range(0, min(GRADIENTS, len(samples)), BATCH):
                # spread over the classes: the samples lie in their order
                chosen = torch.linspace(begin % 7, len(samples) - 1, BATCH).long()
                torch.nn.functional.cross_entropy(net(samples[chosen]), labels[chosen]).backward()
        pruner.step()
        if tp.utils.count_ops_and_params(net, example)[0] <= request["macs"] * whole:
            break
    if request["norms"]:
        _estimate_norms(net, samples)
    torch.onnx.export(net, (example,), request["output"], dynamo=False, input_names=["x"])
    return {"path": str(Path(request["output"])), "macs": tp.utils.count_ops_and_params(net, example)[0] / whole}


def _estimate_norms(net: Any, samples: Any) -> None:
    import torch

    for one in net.modules():
        if isinstance(one, torch.nn.BatchNorm2d):
            one.reset_running_stats()
            one.momentum = None
    net.train()
    with torch.no_grad():
        for begin in range(0, len(samples), BATCH):
            net(samples[begin::BATCH])
    net.eval()
