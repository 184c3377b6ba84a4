"""The objectives written out in plain Python, to be slow and obviously right."""

import math

Rows = list[list[float]]


def cosine(u: list[float], v: list[float]) -> float:
    return dot(u, v) / math.sqrt(dot(u, u) * dot(v, v))


def dot(u: list[float], v: list[float]) -> float:
    return math.fsum(a * b for a, b in zip(u, v, strict=True))


def info_nce_loops(
    x: Rows,
    y: Rows,
    *,
    temperature: float = 0.05,
    similarity: str = "cosine",
    direction: str = "symmetric",
    negatives: str = "other",
    groups: list[int] | None = None,
    present: list[bool] | None = None,
) -> float:
    sim = cosine if similarity == "cosine" else dot

    def is_negative(i: int, j: int) -> bool:
        return i != j and (groups is None or groups[i] != groups[j] or groups[i] < 0)

    def one_way(anchors: Rows, others: Rows) -> float:
        clips = [i for i in range(len(anchors)) if present is None or present[i]]
        losses = []
        for i in clips:
            positive = sim(anchors[i], others[i]) / temperature
            scores = [positive]
            for j in clips:
                if is_negative(i, j):
                    scores.append(sim(anchors[i], others[j]) / temperature)
                    if negatives == "both":
                        scores.append(sim(anchors[i], anchors[j]) / temperature)
            losses.append(-math.log(math.exp(positive) / math.fsum(math.exp(score) for score in scores)))
        return math.fsum(losses) / len(losses) if losses else 0.0

    return one_way(x, y) if direction == "one" else (one_way(x, y) + one_way(y, x)) / 2


def softmax(scores: list[float]) -> list[float]:
    exponentials = [math.exp(score) for score in scores]
    return [value / math.fsum(exponentials) for value in exponentials]


def cross_entropy_loops(passes: list[Rows], labels: list[int], class_weights: list[float] | None = None) -> float:
    losses = []
    for logits in passes:
        total = seen = 0.0
        for row, label in zip(logits, labels, strict=True):
            if label != -100:
                weight = class_weights[label] if class_weights else 1.0
                total -= weight * math.log(softmax(row)[label])
                seen += weight
        losses.append(total / seen if seen else 0.0)
    return math.fsum(losses) / len(losses)


def r_drop_loops(first: Rows, second: Rows, labels: list[int]) -> float:
    losses = []
    for row, other, label in zip(first, second, labels, strict=True):
        if label != -100:
            p, q = softmax(row), softmax(other)
            forward = math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
            backward = math.fsum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
            losses.append((forward + backward) / 2)
    return math.fsum(losses) / len(losses) if losses else 0.0
